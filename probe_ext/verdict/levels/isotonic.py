"""A monotone fit: more people at once cannot be served better, so a share that rises with the load is noise.

Pool adjacent violators: Ayer, Brunk, Ewing, Reid, Silverman, "An empirical distribution function for sampling with
incomplete information", Annals of Mathematical Statistics 26 (1955). The result is the weighted least-squares fit
among all sequences that never rise.
"""

import numpy as np

from probe_ext.verdict.values.columns import Floats


def falling_fit(values: Floats, weights: Floats) -> Floats:
    """The closest never-rising sequence. Values without weight, or that are NaN, do not count and become NaN."""
    fitted = np.full(len(values), np.nan)
    counts = (weights > 0) & ~np.isnan(values)
    blocks: list[tuple[float, float, int]] = []
    for value, weight in zip(values[counts], weights[counts], strict=True):
        block = (float(value), float(weight), 1)
        while blocks and blocks[-1][0] < block[0]:
            block = _pooled(blocks.pop(), block)
        blocks.append(block)
    means = [mean for mean, _, _ in blocks]
    fitted[counts] = np.repeat(means, [n for _, _, n in blocks])
    return fitted


def _pooled(one: tuple[float, float, int], other: tuple[float, float, int]) -> tuple[float, float, int]:
    weight = one[1] + other[1]
    return (one[0] * one[1] + other[0] * other[1]) / weight, weight, one[2] + other[2]
