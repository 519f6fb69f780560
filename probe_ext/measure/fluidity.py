"""The fluidity index of a reply: the share of its token deadlines that were met.

After A. Agrawal et al., "Etalon: Holistic Performance Evaluation Framework for LLM Inference Systems",
arXiv:2407.07000. The first token is due `first` seconds after the request, each further token `each` seconds after the
one before. Tokens that arrive early leave slack for later ones. A token that is late beyond its slack misses every
deadline that passed while waiting for it, and deadlines restart from its arrival. Further tokens of the same event have
no delay of their own.

Beyond the paper: the silence before a reply breaks off misses deadlines like a late token, and an ending caused by the
server misses at least one, so that a failed reply is never better than a slow one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from operator import gt
from typing import NamedTuple

from probe_ext.measure.timeline import TokenEvents

_TOLERANCE_S = 1e-9
"""a token that arrives exactly at its deadline is in time"""


class DeadlineCount(NamedTuple):
    """Deadlines of a reply, and how many of them were missed."""

    deadlines: int
    missed: int


@dataclass(frozen=True)
class Deadlines:
    """When tokens are due, in seconds."""

    first: float
    each: float
    from_sent: bool = False
    """count the first deadline from `sent` instead of when the user wanted to send"""
    visible: bool = False
    """only text outside reasoning has deadlines"""

    def missed(self, wait: float, due: float) -> int:
        """Return how many deadlines pass during a wait whose first deadline is after `due` seconds."""
        return 1 + math.floor((wait - due) / self.each + _TOLERANCE_S) if wait > due + _TOLERANCE_S else 0

    def count(
        self, events: TokenEvents, start: float, died: float | None = None, *, failed: bool = False
    ) -> DeadlineCount:
        """Count the deadlines of one choice requested at `start`.

        `died`: when it broke off; `failed`: the server broke it off.
        """
        single = events.tokens.count(1) == len(events.tokens)  # as nearly always
        waits = repeat(self.each, len(events.tokens)) if single else map(self.each.__mul__, events.tokens)
        due = list(accumulate(waits, initial=start + self.first + _TOLERANCE_S))
        if events.at and not any(map(gt, events.at, due)):  # the usual case: no token is late
            total, missed, last = sum(events.tokens), 0, events.at[-1]
            allowed = due[-1] - _TOLERANCE_S - last
        else:
            total, missed, last, allowed = self._count_one_by_one(events, start)
        if died is not None:
            missed_at_end = max(self.missed(died - last, allowed), int(failed))
            missed, total = missed + missed_at_end, total + missed_at_end
        return DeadlineCount(total, missed)

    def _count_one_by_one(self, events: TokenEvents, start: float) -> tuple[int, int, float, float]:
        """Return deadlines, missed deadlines, time of the last token, and seconds until the next one is due."""
        total = missed = 0
        last, allowed = start, self.first
        for at, tokens in zip(events.at, events.tokens, strict=True):
            late = self.missed(at - last, allowed)
            slack = 0.0 if late else allowed - (at - last)
            missed += late
            total += (late or 1) + tokens - 1
            last, allowed = at, slack + tokens * self.each
        return total, missed, last, allowed


def worst(counts: Sequence[DeadlineCount]) -> DeadlineCount | None:
    """Return the choice with the largest share of missed deadlines; None without any deadline."""
    nonempty = [count for count in counts if count.deadlines]
    return max(nonempty, key=lambda count: count.missed / count.deadlines) if nonempty else None
