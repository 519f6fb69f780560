"""What a plan of levels or a search reads of the run so far: its visits, and what they say of capacity."""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from probe_ext.live.reply_store import ReplyStore, Span
from probe_ext.live.server.others_now import OthersNow
from probe_ext.measure.outcome import CLIENT_SIDE, Outcome
from probe_ext.measure.table_rows import WARM_UP, ReplyRow
from probe_ext.measure.unfinished import MAX_AGE_S, Counts
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.grading.kind_profiles import Kind, KindProfiles
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.observations import SERVED
from probe_ext.verdict.levels.all_kinds import combine, split_critical, split_error
from probe_ext.verdict.levels.visits import criteria_of
from probe_ext.verdict.results.think_time import (
    MIN_PAUSES,
    NOTICED_PAUSE_S,
    matters,
    pausing_users,
    waits_before_next,
)
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from probe_ext.verdict.values.others_share import OthersShare

RECENT_CYCLES = 30
"""from which the reply cycle is taken, at most"""
BACKED_UP = 1.5
"""times as many requests in flight as usual, and 3 more"""
OTHERS_EVERY_S = 2.0
OTHERS_FINAL_AFTER_S = 60.0
"""After the end of a visit: all its replies are known, and what the server did for others no longer changes."""


_OUTAGE_ENDINGS = frozenset({Outcome.CUT, Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT})
"""of replies whose server may have gone for good"""
MAX_HELD_REPLIES = 5_000
"""of a server that may have gone: beyond that, the oldest count"""


@dataclass
class _User:
    """Replies of one user."""

    last_sent: float = 0.0
    last_end: float = -1.0
    last_ended: float = 0.0
    """end of the newest reply, however it ended"""
    failed: bool = False
    """whether that reply failed"""
    sent: deque[float] = field(default_factory=deque)
    """of the newest replies that we did not end, as many as the plan asks for"""


class _Pauses:
    """Pauses between a reply and the same user's next request, and times of replies, as running sums of each user."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}
        """requests, those after a noticed pause, seconds of pauses, seconds of replies"""

    def add(self, user: str, pause: float, reply: float) -> None:
        sums = self._sums.setdefault(user, [0.0] * 4)
        for place, value in enumerate((1.0, float(pause >= NOTICED_PAUSE_S), pause, reply)):
            sums[place] += value

    @property
    def mean(self) -> float | None:
        """Mean seconds; None of users who ask again at once."""
        number, noticed, paused, replied = np.array([*self._sums.values()]).reshape(-1, 4).T
        if number.sum() < MIN_PAUSES:
            return None
        pause, reply = float(paused.sum() / number.sum()), float(replied.sum() / number.sum())
        return pause if matters(pause, reply, pausing_users(number, noticed, paused, replied)) else None


class VisitMonitor:
    """The visits of a plan, their replies, and the estimate from them."""

    def __init__(  # noqa: PLR0913 -- the last three by name only
        self,
        profile: SloProfile,
        min_replies: int,
        critical: Callable[[int], float] | None = None,
        others: OthersNow | None = None,
        kinds: Sequence[Kind] = (),
        *,
        open_stream: bool = False,
        in_flight: Callable[[], float] | None = None,
        unfinished: Callable[[], Counts] | None = None,
    ) -> None:
        """`critical`: of a search, standard errors that a proof takes after so many visits.

        `in_flight`: returns how many requests of an open stream are waiting for, or receiving, their reply."""
        self._kinds = tuple(kinds)
        """kinds of user that are judged apart, where there are several"""
        self.replies = ReplyStore(KindProfiles(profile, self._kinds), open_stream=open_stream)
        self.visits: list[Span] = []
        self._min_replies, self._critical = min_replies, critical
        self._criteria = criteria_of(profile)
        self._cycles: deque[float] = deque(maxlen=RECENT_CYCLES)
        self._users: dict[str, _User] = {}
        self._others, self._open_stream, self._in_flight = others, open_stream, in_flight
        self._unfinished = unfinished
        self._pauses = _Pauses()
        self._held: deque[ReplyRow] = deque()
        """lost connections since the server last answered; they count once it does, for the report judges them then"""
        self._shares: dict[tuple[int, float], tuple[float, OthersShare | None]] = {}
        """by users and start of a visit: when it was last asked, and the answer"""

    @property
    def needed_share(self) -> float:
        return self._criteria.served_share

    def add(self, row: ReplyRow) -> None:
        """Take a reply."""
        self._judge_or_hold(row)
        if self._others:
            self._others.add_reply(row)
        sent = row.due if row.sent is None else row.sent
        known = self._users.get(row.user)
        user = known or self._users.setdefault(row.user, _User(sent=deque(maxlen=self._min_replies)))
        before, user.last_sent = user.last_sent, sent
        if known is not None and row.scenario != WARM_UP and not user.failed and not self._open_stream:
            self._pauses.add(row.user, max(0.0, row.due - user.last_ended), row.end - row.due)
        user.last_ended, user.failed = row.end, waits_before_next(row.outcome)
        if Outcome(row.outcome) in CLIENT_SIDE:
            return
        user.last_end = max(user.last_end, row.end)
        user.sent.append(sent)
        if known is not None and sent > before:
            self._cycles.append(sent - before)

    def _judge_or_hold(self, row: ReplyRow) -> None:
        outcome = Outcome(row.outcome)
        if outcome in _OUTAGE_ENDINGS:
            self._held.append(row)
        else:
            self.replies.add(row)
        answered = outcome not in _OUTAGE_ENDINGS | CLIENT_SIDE
        while self._held and ((answered and self._held[0].end < row.due) or len(self._held) > MAX_HELD_REPLIES):
            self.replies.add(self._held.popleft())

    def reply_cycle(self) -> float:
        """Seconds from one request of a user to the next, the median of recent ones; 0 while unknown."""
        return median(self._cycles) if self._cycles else self.replies.longest_recent()

    def users_with_enough_replies(self, since: float) -> int:
        """Users with at least `min_replies` replies sent since then."""
        if not self._min_replies:
            return len(self._users)
        return sum(len(user.sent) == self._min_replies and user.sent[0] >= since for user in self._users.values())

    def users_replied(self, since: float) -> int:
        """Users with a reply that ended since then."""
        return sum(user.last_end >= since for user in self._users.values())

    @property
    def pause(self) -> float | None:
        """Mean seconds between a reply and the same user's next request so far; None of users who ask again at once."""
        return self._pauses.mean

    def is_backed_up(self, level: int) -> bool:
        """Whether far more requests of an open stream are in flight than in an earlier visit to this rate."""
        usual = [span for span in self.visits if span.users == level and span.end is not None]
        if self._in_flight is None or not usual:
            return False
        return self._in_flight() > BACKED_UP * (self.replies.visit(usual[0], usual[0].end or 0.0).at_once) + 3

    def begin_visit(self, now: float, users: int) -> None:
        """From now on, replies count for a level of so many users."""
        self.visits.append(Span(users, now))

    def end_visit(self, now: float, *, more_users: bool) -> None:
        """The present visit is over."""
        self.visits[-1].end = now
        if more_users:
            self.replies.note_rise(now)

    def visit_counts(self, now: float) -> tuple[int, int]:
        """Served and judged replies of the present visit; none while the server does too much for others.

        Of several kinds of user, those of the one that is served least.
        """
        if not self.is_judged(self.visits[-1], now):
            return 0, 0
        return min(self._counts_by_kind(now), key=lambda counts: counts[0] / counts[1], default=(0, 0))

    def _counts_by_kind(self, now: float) -> list[tuple[int, int]]:
        """Served and judged replies of the present visit, by kind of user that has any."""
        kinds = range(len(self._kinds)) if self._kinds else (None,)
        visits = [self.replies.visit(self.visits[-1], now, kind) for kind in kinds]
        return [(int(visit.served.sum()), len(visit.served)) for visit in visits if len(visit.served)]

    def early_counts(self, now: float, since: float) -> tuple[int, int] | None:
        """Replies that do well so far and all that can be judged, ended or not; None if unknown.

        Those sent since then are judged by all they have shown; of those sent before, only the ones that go on count,
        by what they show now. They prove nothing: of the replies sent lately, those that ended are the fast ones.
        """
        if self._unfinished is None:
            return None
        ended = self.replies.rows_of(Span(0, since))["grade"]
        known, fine = int((ended >= SERVED).sum()), int((ended == SERVED).sum())
        for age, counts in enumerate(self._unfinished()):
            # The last age is that of all older replies, too, some of which may have been sent before.
            sent_since = age < MAX_AGE_S and age + 1 <= now - since
            well, late = counts.known - counts.late, counts.late if sent_since else counts.late_now
            fine, known = fine + well, known + well + late
        return fine, known

    def has_other_load(self, now: float) -> bool:
        """Whether the server does too much for others to judge the present visit.

        While that is not known yet, the visit before it tells, which may have been left before it was known.
        """
        shares = (self.others(span, now) for span in reversed(self.visits[-2:]))
        latest = next((share for share in shares if share is not None), None)
        return latest is not None and latest.too_much

    def estimate(self, now: float) -> CapacityEstimate:
        """The estimate from all visits so far."""
        return self.estimate_of(self.visits, now)

    def estimate_of(self, spans: Sequence[Span], now: float) -> CapacityEstimate:
        """The estimate from these visits up to now, without those in which the server did too much for others."""
        spans = [span for span in spans if self.is_judged(span, now)]
        visits = [self.replies.visit(span, now) for span in spans]
        critical = self._critical(len(self.visits)) if self._critical else None
        pooled = estimate(visits, self._criteria, critical=critical)
        if not self._kinds:
            return pooled
        by_kind = [[self.replies.visit(span, now, kind) for span in spans] for kind in range(len(self._kinds))]
        present = [kind for kind, visits in enumerate(by_kind) if any(visit.people for visit in visits)]
        critical = split_critical(critical, len(present))
        criteria = [split_error(criteria_of(self._kinds[kind].profile), len(present)) for kind in present]
        parts = {
            self._kinds[kind].name: estimate(by_kind[kind], own, critical=critical)
            for kind, own in zip(present, criteria, strict=True)
        }
        return combine(pooled, parts)

    def is_judged(self, span: Span, now: float) -> bool:
        """Whether a visit's replies reflect this run's load, and not that of others."""
        share = self.others(span, now)
        return share is None or not share.too_much

    def others(self, span: Span, now: float) -> OthersShare | None:
        """What the server did for others in a visit so far; None where that is not known."""
        if self._others is None:
            return None
        key = span.users, span.start
        asked, share = self._shares.get(key, (-math.inf, None))
        final = span.end is not None and asked - span.end > OTHERS_FINAL_AFTER_S
        if not final and now - asked >= OTHERS_EVERY_S:
            share = self._others.share(span.start, span.end, span.users, now)
            self._shares[key] = now, share
        return share
