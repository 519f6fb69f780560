"""How sure is the capacity? Resampling of time, since the users of one moment share one queue.

Each level's measured part is cut into blocks of time of about three replies a user (at least BLOCKS of them, so that
there is something to draw from). A replicate draws blocks with all their users together, then users inside them: one
draw of users for all blocks, since a person who is ill served is so all along (the pigeonhole bootstrap of two crossed
factors: A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1 (2007); blocks of time: H. R. Künsch,
"The jackknife and the bootstrap for general stationary observations", Annals of Statistics 17 (1989)). Every replicate
is judged like the run itself.

In a level of few blocks, drawing shows too little: there each replicate moves all that was felt by a common factor, see
`shocks`.

The interval reaches from the lowest capacity that the replicates support to the highest number of users that is still
below a level that failed: what lies between two levels was not measured and is not ruled out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.grading.reply_grades import Grades
from probe_ext.verdict.grading.user_grades import Counts, UserCounts, classify, count_replies, count_users
from probe_ext.verdict.inference.blocks import block_count
from probe_ext.verdict.inference.shrinkage import classify_lasting
from probe_ext.verdict.inference.slow_swings import WEIGHTS
from probe_ext.verdict.levels.bracket import Bracket, find_bracket, states_of
from probe_ext.verdict.levels.level_assignment import LevelAssignment, rows_by_level
from probe_ext.verdict.levels.level_judgement import LevelJudgement, steps_of
from probe_ext.verdict.levels.level_state import served_share
from probe_ext.verdict.values.columns import Bools, Floats, Ints

REPLICATES = 400
CONFIDENCE = 0.95
SEED = 20_240_607
"""any fixed number: the same run judged twice gives the same figures"""

Interval = tuple[int, int | None]
"""the lowest and the highest number of users that the run does not rule out; None: no highest"""


@dataclass(frozen=True)
class Replicates:
    """People by replicate and level."""

    experience: UserCounts
    """judged as the run itself: what another run of the same length might have shown"""
    lasting: UserCounts
    """without the chance in each user's few replies: see `lasting`"""


def resample(scene: LevelAssignment, nodes: Sequence[Grades], sent: Floats, profile: SloProfile) -> Replicates:
    """Draw anew. `nodes`: the replies' grades, moved by each of the `shocks`."""
    rng = np.random.default_rng(SEED)
    drawn = []
    for number, rows in enumerate(rows_by_level(scene)):
        drawn.append(_resample_level(scene, number, rows, nodes, sent, profile, rng))
    return Replicates(_stacked([felt for felt, _ in drawn]), _stacked([lasting for _, lasting in drawn]))


def _stacked(drawn: Sequence[UserCounts]) -> UserCounts:
    kinds = [_kinds(one) for one in drawn]
    if not kinds:
        return UserCounts(*(np.zeros((REPLICATES, 0), dtype=np.int64) for _ in range(4)))
    return UserCounts(*(np.stack(kind, axis=1) for kind in zip(*kinds, strict=True)))


def _resample_level(
    scene: LevelAssignment,
    number: int,
    rows: Ints,
    nodes: Sequence[Grades],
    sent: Floats,
    profile: SloProfile,
    rng: np.random.Generator,
) -> tuple[UserCounts, UserCounts]:
    level = scene.levels[number]
    rows = rows[nodes[len(nodes) // 2][rows] >= 0]
    people, user = np.unique(scene.user_of[rows], return_inverse=True)
    if not len(people):
        nobody = UserCounts(*(np.zeros(REPLICATES, dtype=np.int64) for _ in range(4)))
        return nobody, nobody
    blocks = block_count(len(rows), len(people))
    block = ((sent[rows] - level.t_start) / max(level.seconds, 1e-9) * blocks).astype(np.int64)
    block = np.clip(block, 0, blocks - 1)
    counts = [count_replies(block, user, grades[rows], (blocks, len(people))) for grades in nodes]
    of_blocks = rng.multinomial(blocks, np.full(blocks, 1 / blocks), REPLICATES)
    of_people = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), REPLICATES)
    node = rng.choice(len(nodes), REPLICATES, p=WEIGHTS if len(nodes) > 1 else None)
    felt, last = (np.empty((REPLICATES, len(people)), dtype=np.int8) for _ in range(2))
    for i, of_node in enumerate(counts):
        which = node == i
        drawn, seen = _drawn(of_node, of_blocks[which]), _drawn(of_node, np.ones(blocks, dtype=np.int64))
        felt[which] = classify(drawn, profile.users)
        last[which] = classify_lasting(drawn, of_people[which], seen, profile.users)
    return count_users(felt, of_people), count_users(last, of_people)


def _drawn(counts: Counts, of_blocks: Ints) -> Counts:
    """Replies by replicate and user, with each block counted as often as it was drawn."""
    weights = of_blocks.astype(np.float64)  # floats multiply much faster, and are exact here

    def summed(values: Ints) -> Ints:
        return np.rint(weights @ values.astype(np.float64)).astype(np.int64)

    return Counts(summed(counts.judged), summed(counts.strained), summed(counts.broken))


def interval(scene: LevelAssignment, standing: LevelJudgement, replicates: Replicates, share: float) -> Interval | None:
    """The capacity's interval at CONFIDENCE; None where there is no capacity to give one for."""
    if standing.bracket.held is None and standing.bracket.failed is None:
        return None
    people = _where(standing.coverage.enough, replicates.lasting, replicates.experience)
    found = _brackets(scene, standing, people, share)
    held = np.array([0 if one.held is None else one.held for one in found], dtype=np.float64)
    below = np.array([np.inf if one.failed is None else one.failed - 1 for one in found])
    tail = (1 - CONFIDENCE) / 2
    low = min(float(np.quantile(held, tail, method="inverted_cdf")), standing.bracket.held or 0)
    high = float(np.quantile(below, 1 - tail, method="inverted_cdf"))
    high = max(high, np.inf if standing.bracket.failed is None else standing.bracket.failed - 1)
    return int(low), (None if np.isinf(high) else int(high))


def _where(which: Bools, one: UserCounts, other: UserCounts) -> UserCounts:
    """Of a level with too few replies, nothing is said for the long run."""
    kinds = zip(_kinds(one), _kinds(other), strict=True)
    return UserCounts(*(np.where(which, a, b) for a, b in kinds))


def _kinds(people: UserCounts) -> tuple[Ints, ...]:
    return people.served, people.strained, people.broken, people.undecided


def _brackets(scene: LevelAssignment, standing: LevelJudgement, replicates: UserCounts, share: float) -> list[Bracket]:
    steps = steps_of(scene, replicates, standing.coverage, scene.proven)
    each = zip(states_of(steps, share), served_share(steps.people), steps.people.judged, strict=True)
    return [find_bracket(steps.users, states, shares, heard, share) for states, shares, heard in each]


def share_range(replicates: UserCounts) -> tuple[Floats, Floats]:
    """Between which served shares each level lies, at CONFIDENCE; NaN where nobody was heard."""
    shares = served_share(replicates)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.full(shares.shape[1], np.nan), np.full(shares.shape[1], np.nan)
    for level in range(shares.shape[1]):
        known = shares[:, level][~np.isnan(shares[:, level])]
        if len(known):
            low[level], high[level] = np.quantile(known, [tail, 1 - tail])
    return low, high
