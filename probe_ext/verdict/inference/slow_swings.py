"""How much another run of a short level could have differed as a whole.

A level of few replies is one look at a queue that swings more slowly than the level lasts: drawing from its own blocks
of time can only show what happened in it, and where everybody was served by a hair, every draw says so. So, in levels
of fewer than ENOUGH natural blocks (of about three replies a user), each replicate also moves all waits, typing speeds
and silences of the level by one common factor. How far is taken from how much the blocks' means differ: the standard
error of the level's mean on a logarithmic scale, widened by Student's t for so few blocks, less what drawing from the
blocks shows of it anyway. Three factors stand for the normal distribution, with the weights of Gauss and Hermite. What
is far from its bounds is served whatever the factor.
"""

import math

import numpy as np

from probe_ext.verdict.grading.reply_grades import Experience, Slowdown
from probe_ext.verdict.inference.blocks import block_count, natural_blocks
from probe_ext.verdict.levels.level_assignment import LevelAssignment, rows_by_level
from probe_ext.verdict.values.columns import Floats, Ints

ENOUGH = 10
"""natural blocks: from so many on, a level has been seen to swing"""
NODES = (-math.sqrt(3), 0.0, math.sqrt(3))
"""standard deviations"""
WEIGHTS = (1 / 6, 2 / 3, 1 / 6)
LARGEST = 0.4
"""standard deviation of a factor's logarithm at most: √3 of it are twice as long"""
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Student's t for 95 %, with 1, 2, … degrees of freedom"""
_Z = 1.96


def shocks(scene: LevelAssignment, felt: Experience, sent: Floats) -> tuple[Slowdown, ...]:
    """The factors of each reply, one set a node; nothing where no level is short."""
    n = len(sent)
    short = False
    sigma = {name: np.zeros(n) for name in ("waited", "rate", "gap", "elapsed")}
    for number, rows in enumerate(rows_by_level(scene)):
        people = len(np.unique(scene.user_of[rows]))
        natural = natural_blocks(len(rows), people) if people else ENOUGH
        if natural >= ENOUGH:
            continue
        short = True
        level = scene.levels[number]
        blocks = block_count(len(rows), people)
        block = ((sent[rows] - level.t_start) / max(level.seconds, 1e-9) * blocks).astype(np.int64)
        block = np.clip(block, 0, blocks - 1)
        for name, of in sigma.items():
            of[rows] = error(getattr(felt, name)[rows], block, natural)
    if not short:
        return ()
    return tuple(Slowdown(**{name: np.exp(node * of) for name, of in sigma.items()}) for node in NODES)


def error(values: Floats, block: Ints, natural: float) -> float:
    """The standard error of a level's mean, of its logarithm, beyond what drawing from its blocks shows.

    0 where there are not two blocks to compare.
    """
    known = ~np.isnan(values)
    count = np.bincount(block[known])
    mean = np.bincount(block[known], weights=values[known])[count > 0] / count[count > 0]
    if len(mean) < 2 or mean.mean() <= 0:
        return 0.0
    swing = float(mean.std(ddof=1) / mean.mean())
    few = _T[len(mean) - 2] / _Z if len(mean) - 2 < len(_T) else 1.0
    drawn = (len(mean) - 1) / len(mean) ** 2
    return min(LARGEST, swing * math.sqrt(max(0.0, few**2 / max(natural, 1.0) - drawn)))
