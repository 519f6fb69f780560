"""The same judgement while a run goes on: what is known of a level from the replies that have ended.

Only replies that have ended can be judged, and slow ones end later. So blocks hold the replies that *ended* in them,
whenever they were sent: in a steady state each counts once, and none has to be waited for. What the verdict would say
is another matter: it is asked anew of every level, when the last of its replies have ended, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.load.boundary_search import State
from probe_ext.load.sequential_test import Block
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.grading.reply_grades import BROKEN, SERVED, Grades, judge_replies
from probe_ext.verdict.grading.user_grades import EPSILON, UserCounts, classify, count_replies, count_users
from probe_ext.verdict.levels.bracket import put_together, states_of
from probe_ext.verdict.levels.cut_at_rise import as_of
from probe_ext.verdict.levels.level_state import STATE_NAMES, Coverage
from probe_ext.verdict.values.columns import Floats, Ints, from_rows

SHORTEST_BLOCK = 1.0
"""seconds"""


@dataclass(frozen=True)
class Ended:
    """Judged replies of one visit to a level, in order of `end`. Seconds of the run."""

    user: Ints
    sent: Floats
    end: Floats
    grades: Grades


def grade(rows: Sequence[ReplyRow], until: Sequence[float], profile: SloProfile) -> Grades:
    """How each reply felt, as the verdict will say; one that went on after its moment, as it stood then."""
    replies = as_of(from_rows(rows, ReplyRow), np.array(until))
    return judge_replies(replies, profile, profile.reasoning).overall


def state_of(visits: Sequence[Ended], users: int, min_replies: int, profile: SloProfile) -> State:
    """What the verdict would say of a level of so many users, all visits put together."""
    share = profile.level.served_share
    people, present, enough = [], [], []
    for visit in visits:
        seen, user = np.unique(visit.user, return_inverse=True)
        level = np.zeros(len(user), dtype=np.int64)
        counts = count_replies(level, user, visit.grades, (1, max(1, len(seen))))
        people.append(count_users(classify(counts, profile.users)))
        present.append(max(users, len(seen)))
        enough.append(bool((counts.judged >= min_replies).sum() >= share * users - EPSILON))
    if not people:
        return "unproven"
    kinds = zip(*((one.served, one.strained, one.broken, one.undecided) for one in people), strict=True)
    together = put_together(
        np.full(len(people), users),
        UserCounts(*(np.concatenate(kind) for kind in kinds)),
        Coverage(np.array(present), np.array(enough)),
    )
    return STATE_NAMES[int(states_of(together, share)[0])]


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
