"""The fluidity index of a reply: how many of its tokens' deadlines were met.

After A. Agrawal et al., "Etalon: Holistic Performance Evaluation Framework for LLM Inference Systems",
arXiv:2407.07000. The first token is due `first` seconds after the request, each further one `each` seconds after the
one before. What came early is kept as slack for those that follow. A token that is late beyond its slack misses as many
deadlines as passed while it was waited for, and deadlines start anew from it. Tokens of one event after its first come
with no delay of their own. The index is the met part of all deadlines.

Beyond the paper: the silence before a reply broke off misses deadlines like a late token, and an ending that the server
caused misses one at least, so that a failed reply is never better than a slow one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import gt
from typing import NamedTuple

from probe_ext.measure.timeline import TokenEvents

_EXACT = 1e-9
"""seconds: a token that comes just at its deadline is in time"""


class Kept(NamedTuple):
    """Deadlines of a reply, and how many of them were missed."""

    deadlines: int
    missed: int


@dataclass(frozen=True)
class Deadlines:
    """When tokens are due, seconds."""

    first: float
    each: float
    from_sent: bool = False
    """the first is counted from `sent`, else from when the user wanted to send"""
    visible: bool = False
    """only text outside reasoning has deadlines"""

    def missed(self, silent: float, due: float) -> int:
        """Deadlines that pass in a wait, of which the first is `due` seconds away; 0 where it ends in time."""
        return 1 + math.floor((silent - due) / self.each + _EXACT) if silent > due + _EXACT else 0

    def kept(self, events: TokenEvents, start: float, died: float | None = None, *, failed: bool = False) -> Kept:
        """The deadlines of one choice that was asked for at `start`.

        `died`: when it ended without having come to its end; `failed`: by the server's doing.
        """
        due = list(accumulate(map(self.each.__mul__, events.tokens), initial=start + self.first + _EXACT))
        if events.at and not any(map(gt, events.at, due)):  # as most are: nothing was late, and all slack was kept
            total, missed, before = sum(events.tokens), 0, events.at[-1]
            allowed = due[-1] - _EXACT - before
        else:
            total, missed, before, allowed = self._one_by_one(events, start)
        if died is not None:
            late = max(self.missed(died - before, allowed), int(failed))
            missed, total = missed + late, total + late
        return Kept(total, missed)

    def _one_by_one(self, events: TokenEvents, start: float) -> tuple[int, int, float, float]:
        """Deadlines, missed ones, when the last token came, and in how many seconds the next would be due."""
        total = missed = 0
        before, allowed = start, self.first
        for at, tokens in zip(events.at, events.tokens, strict=True):
            late = self.missed(at - before, allowed)
            slack = 0.0 if late else allowed - (at - before)
            missed += late
            total += (late or 1) + tokens - 1
            before, allowed = at, slack + tokens * self.each
        return total, missed, before, allowed


def worst(all_kept: Sequence[Kept]) -> Kept | None:
    """Of several choices, the one with the largest part missed; None without any deadline."""
    some = [kept for kept in all_kept if kept.deadlines]
    return max(some, key=lambda kept: kept.missed / kept.deadlines) if some else None
