"""Did the server slow down over time, at the same load?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from probe_ext.verdict.diagnosis.facts.level_load import Load, mean, tokens_by_block
from probe_ext.verdict.evidence.columns import Floats
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.gauges import gauges, mean_of
from probe_ext.verdict.server.server_series import Metrics

BLOCKS, MIN_BLOCKS = 8, 5
"""Per level."""
MIN_BATCH_RANGE = 0.01
"""Of the logarithm of the batch, below which it does not vary."""


@dataclass(frozen=True)
class Drift:
    """How fast a token takes longer at the same users: the slope of the logarithm, per second."""

    rate: float
    error: float
    """standard error"""
    rising: float
    """share of the numbers of users at which it rises"""
    source: Literal["server", "clients"]

    def factor(self, seconds: float) -> float:
        """Return how much longer a token takes after so many seconds."""
        return math.exp(min(self.rate * seconds, 50.0))


def find_drift(loads: Sequence[Load], metrics: Metrics, tokens: Floats | None) -> Drift | None:
    """Measure the drift by the server's time per token at like batches, else by the clients' tokens per second."""
    visits = [[load for load in loads if load.users == users] for users in sorted({load.users for load in loads})]
    blocks = [np.concatenate([_server_blocks(load, metrics) for load in same]) for same in visits]
    if any(len(block) >= MIN_BLOCKS for block in blocks):
        return _pooled(blocks, "server")
    if tokens is None:
        return None
    return _pooled([np.concatenate([_client_blocks(load, tokens) for load in same]) for same in visits], "clients")


def _server_blocks(load: Load, metrics: Metrics) -> Floats:
    """Return time, log time per token and log batch size of each block of the level."""
    rows = []
    edges = np.linspace(load.t_start, load.t_end, BLOCKS + 1)
    for start, end in pairwise(edges.tolist()):
        block = Level(load.users, load.users, load.users, start, end, False)
        itl, running = mean_of(metrics, "itl", block), mean(gauges(metrics, block).running)
        if itl and running:
            rows.append(((start + end) / 2, math.log(itl), math.log(running)))
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _client_blocks(load: Load, tokens: Floats) -> Floats:
    middle, counts = tokens_by_block(tokens, load.t_start, load.t_end, BLOCKS)
    known = counts > 0
    return np.column_stack([middle[known], -np.log(counts[known]), np.zeros(int(known.sum()))])


def _pooled(blocks: Sequence[Floats], source: Literal["server", "clients"]) -> Drift | None:
    """Regress on time and batch size at each number of users, and take the mean of the slopes."""
    slopes = [_slope(block) for block in blocks if len(block) >= MIN_BLOCKS]
    if not slopes:
        return None
    rates, errors = np.array(slopes).T
    error = float(np.sqrt(np.mean(errors**2) / len(errors)))
    return Drift(float(rates.mean()), error, float((rates > 0).mean()), source)


def _slope(block: Floats) -> tuple[float, float]:
    """Return the slope over time of the logarithm, per second, and its standard error."""
    time, log_time, batch = (block - block.mean(axis=0)).T
    inputs = np.column_stack([time, batch]) if np.ptp(batch) > MIN_BATCH_RANGE else time[:, None]
    slopes, *_ = np.linalg.lstsq(inputs, log_time, rcond=None)
    residual = log_time - inputs @ slopes
    variance = float(residual @ residual) / (len(time) - 1 - inputs.shape[1])
    return float(slopes[0]), float(np.sqrt(variance * np.linalg.pinv(inputs.T @ inputs)[0, 0]))
