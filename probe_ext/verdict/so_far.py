"""The same judgement while a run goes on: what is known of the present level from the replies that have ended.

Only replies that have ended can be judged, and slow ones end later. So blocks hold the replies that *ended* in them,
whenever they were sent: in a steady state each counts once, and none has to be waited for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.load.search import Look, State
from probe_ext.load.sequential import Block
from probe_ext.measure.rows import ReplyRow
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.columns import Floats, Ints, from_rows
from probe_ext.verdict.level_state import STATE_NAMES, Heard, judge_levels
from probe_ext.verdict.people import EPSILON, classify, count_replies, headcount
from probe_ext.verdict.replies import BROKEN, SERVED, Grades, judge_replies

SHORTEST_BLOCK = 1.0
"""seconds"""


@dataclass(frozen=True)
class Ended:
    """Judged replies of one level that have ended, in order of `end`. Seconds of the run."""

    user: Ints
    sent: Floats
    end: Floats
    grades: Grades


def grade(rows: Sequence[ReplyRow], profile: SloProfile) -> Grades:
    """How each reply felt, as the verdict will say."""
    return judge_replies(from_rows(rows, ReplyRow), profile, profile.reasoning).overall


def look_at(ended: Ended, since: float, users: int, min_replies: int, profile: SloProfile) -> Look:
    """What is known of a level of so many users, measured since then."""
    return Look(_state(ended, users, min_replies, profile), blocks_of(ended, since))


def _state(ended: Ended, users: int, min_replies: int, profile: SloProfile) -> State:
    seen, user = np.unique(ended.user, return_inverse=True)
    level = np.zeros(len(user), dtype=np.int64)
    counts = count_replies(level, user, ended.grades, (1, max(1, len(seen))))
    share = profile.level.served_share
    enough = (counts.judged >= min_replies).sum(axis=1) >= share * users - EPSILON
    heard = Heard(np.array([max(users, len(seen))]), enough)
    state = judge_levels(headcount(classify(counts, profile.users)), heard, share)
    return STATE_NAMES[int(state[0])]


def blocks_of(ended: Ended, since: float) -> tuple[Block, ...]:
    """Blocks as long as a reply took before each began, and with at least one reply; what is left over waits."""
    blocks, first, start = [], 0, since
    took = ended.end - ended.sent
    while first < len(took):
        length = max(SHORTEST_BLOCK, float(np.median(took[:first])) if first else 0.0)
        length *= max(1, int(np.ceil((ended.end[first] - start) / length)))
        beyond = int(np.searchsorted(ended.end, start + length, side="right"))
        if beyond == len(took):
            break  # more may still end in it
        grades = ended.grades[first:beyond]
        start += length
        blocks.append(Block(start, float(np.mean(grades == SERVED)), float(np.mean(grades == BROKEN))))
        first = beyond
    return tuple(blocks)
