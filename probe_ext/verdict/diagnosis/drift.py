"""Did the server slow down over time, at the same load?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from probe_ext.verdict.diagnosis.level_load import Load, mean, tokens_by_block
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.gauges import gauges, mean_of
from probe_ext.verdict.server.server_series import Metrics
from probe_ext.verdict.values.columns import Floats

BLOCKS = 5
"""Per level."""


@dataclass(frozen=True)
class Drift:
    """How fast a token takes longer within levels: the slope of the logarithm, per second."""

    rate: float
    error: float
    """standard error"""
    rising: float
    """share of the levels in which it rises"""
    source: Literal["server", "clients"]

    def factor(self, seconds: float) -> float:
        """Return how much longer a token takes after so many seconds."""
        return math.exp(min(self.rate * seconds, 50.0))


def find_drift(loads: Sequence[Load], metrics: Metrics, tokens: Floats | None) -> Drift | None:
    """Measure the drift by the server's time per token at like batches, else by the clients' tokens per second."""
    blocks = [_server_blocks(load, metrics) for load in loads]
    if sum(len(block) for block in blocks) >= BLOCKS:
        return _pooled(blocks, "server")
    if tokens is None:
        return None
    return _pooled([_client_blocks(load, tokens) for load in loads], "clients")


def _server_blocks(load: Load, metrics: Metrics) -> Floats:
    """Return time, log time per token and log batch size of each block of the level."""
    rows = []
    edges = np.linspace(load.t_start, load.t_end, BLOCKS + 1)
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        block = Level(load.users, load.users, load.users, float(start), float(end), False)
        itl, running = mean_of(metrics, "itl", block), mean(gauges(metrics, block).running)
        if itl and running:
            rows.append(((start + end) / 2, math.log(itl), math.log(running)))
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _client_blocks(load: Load, tokens: Floats) -> Floats:
    middle, counts = tokens_by_block(tokens, load.t_start, load.t_end, BLOCKS)
    known = counts > 0
    return np.column_stack([middle[known], -np.log(counts[known]), np.zeros(int(known.sum()))])


def _pooled(blocks: Sequence[Floats], source: Literal["server", "clients"]) -> Drift | None:
    """Regress on time and batch size, each level around its own mean."""
    centred = [block - block.mean(axis=0) for block in blocks if len(block) >= 3]
    if not centred:
        return None
    time, log_time, batch = np.concatenate(centred).T
    inputs = np.column_stack([time, batch]) if np.ptp(batch) > 0.01 else time[:, None]
    free = len(time) - len(centred) - inputs.shape[1]
    if free < 2:
        return None
    slopes, *_ = np.linalg.lstsq(inputs, log_time, rcond=None)
    residual = log_time - inputs @ slopes
    covariance = np.linalg.pinv(inputs.T @ inputs) * float(residual @ residual) / free
    rises = [float(np.polyfit(block[:, 0], block[:, 1], 1)[0]) > 0 for block in centred]
    return Drift(float(slopes[0]), math.sqrt(float(covariance[0, 0])), float(np.mean(rises)), source)
