"""What the estimator reads: visits, each a stretch of constant load with its judged replies."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from probe_ext.verdict.evidence.columns import Bools, Floats, Ints

OPEN, SERVED, STRAINED, BROKEN = -1, 0, 1, 2
MAX_BLOCKS = 60


@dataclass(frozen=True)
class Visit:
    """One stretch of constant load after settling. The arrays have one entry for each judged reply, in any order."""

    users: int
    """concurrent users, whether or not all of them sent a judged reply; or the rate of an open stream"""
    user: Ints
    """a code for each user: the same person has the same code in every visit"""
    sent: Floats
    """seconds of the run"""
    served: Bools
    broken: Bools
    start: float
    end: float
    people: int | None = None
    """concurrent users whose replies these are, where that is only one kind of the users; of an open stream, see
    `replies_at_once`"""
    asking: int | None = None
    """those of `people` who sent anything in it, where some may have paused throughout"""

    @property
    def seconds(self) -> float:
        return max(0.0, self.end - self.start)

    @property
    def at_once(self) -> int:
        """About how many replies share one moment: one of each user."""
        return max(1, self.asking or self.people or self.users)

    def select(self, keep: Bools) -> "Visit":
        """Return the same visit with some of its replies only."""
        return replace(
            self, user=self.user[keep], sent=self.sent[keep], served=self.served[keep], broken=self.broken[keep]
        )


def counts_towards_level(sent: Floats, end: float, last_seconds: float) -> Bools:
    """Return which replies count: all but those sent in the level's last `last_seconds`.

    `last_seconds` is the profile's `first_word.served`. A late reply can only be seen to fail, never to be served, so
    counting it would bias the share.
    """
    return np.asarray(sent <= end - last_seconds, dtype=np.bool_)


def visit_from_grades(
    users: int,
    user: Ints,
    sent: Floats,
    grades: NDArray[np.int8],
    span: tuple[float, float],
    last_seconds: float,
    people: int | None = None,
) -> Visit:
    """Build a visit from grades as they stood at the end of the level: −1 open, 0 served, 1 strained, 2 broken.

    An open reply that was sent before the last seconds has passed no bound yet, so it counts as served.
    """
    keep = counts_towards_level(sent, span[1], last_seconds)
    grades = np.asarray(grades)[keep]
    return Visit(users, user[keep], sent[keep], grades <= SERVED, grades == BROKEN, *span, people)


def replies_at_once(due: Floats, end: Floats, span: tuple[float, float]) -> int:
    """Return about how many replies of an open stream share one moment, at least 1.

    They share a queue as that many users would. By Little's law, it is arrivals per second × mean time of a reply.
    `end` may be unknown (NaN).
    """
    took = float(np.nansum(np.clip(end - due, 0.0, None)))
    return max(1, round(took / max(span[1] - span[0], 1e-9)))


@dataclass(frozen=True)
class Blocks:
    """Replies of one visit in order of sending, cut into runs of about one reply a user."""

    replies: Floats
    served: Floats
    broken: Floats


def in_order(visit: Visit) -> Ints:
    """Return the order of a visit's replies by time of sending; of one moment by user, unserved replies first."""
    order = np.argsort(visit.sent, kind="stable")
    sent = visit.sent[order]
    # Hardly ever were two sent at one moment: then users and grades need not be sorted, which takes ten times as long.
    return order if bool((sent[1:] > sent[:-1]).all()) else np.lexsort((visit.served, visit.user, visit.sent))


def cut_into_blocks(visit: Visit) -> Blocks:
    """Cut a visit into blocks of about as many replies as there are users, or replies in flight.

    Replies of one moment share a queue, so it is blocks, not replies, that come close to independence.
    """
    count = len(visit.sent)
    if not count:
        return Blocks(*np.zeros((3, 0)))
    number = int(np.clip(round(count / visit.at_once), 1, MAX_BLOCKS))
    order, edges = in_order(visit), (np.arange(number) * count) // number
    kinds = np.stack([np.ones(count), visit.served[order], visit.broken[order]])
    return Blocks(*np.add.reduceat(kinds, edges, axis=1))


@dataclass(frozen=True)
class Level:
    """All visits with one number of users, or one rate."""

    users: int
    visits: tuple[Visit, ...]
    blocks: tuple[Blocks, ...]

    @property
    def people(self) -> int:
        """Users whose replies these are."""
        return max((visit.people for visit in self.visits if visit.people), default=self.users)

    @property
    def replies(self) -> int:
        return sum(len(visit.sent) for visit in self.visits)

    @property
    def served(self) -> int:
        return sum(int(visit.served.sum()) for visit in self.visits)

    @property
    def broken(self) -> int:
        return sum(int(visit.broken.sum()) for visit in self.visits)

    @property
    def seconds(self) -> float:
        return sum(visit.seconds for visit in self.visits)


def level_of(users: int, visits: Sequence[Visit]) -> Level:
    """Put visits together, in order of time; those without replies are left out."""
    here = tuple(sorted((visit for visit in visits if len(visit.sent)), key=lambda visit: visit.start))
    return Level(users, here, tuple(cut_into_blocks(visit) for visit in here))


def group_by_users(visits: Sequence[Visit]) -> tuple[Level, ...]:
    """Group visits into levels by rising number of users; visits without a judged reply are left out."""
    known = [visit for visit in visits if len(visit.sent) and visit.users > 0]
    numbers = sorted({visit.users for visit in known})
    return tuple(level_of(users, [visit for visit in known if visit.users == users]) for users in numbers)
