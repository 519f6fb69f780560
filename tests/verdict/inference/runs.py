"""Small runs for the estimator's tests."""

import numpy as np

from probe_ext.verdict.inference.observations import Visit
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, Criteria
from probe_ext.verdict.values.judgement import NextStep
from probe_ext.verdict.wording.next_run import next_measurement, next_step

HOLD_S = 40.0


def visit(
    users: int, served: list[bool] | np.ndarray, *, start: float = 0.0, broken: np.ndarray | None = None
) -> Visit:
    """Users take turns, evenly over the visit."""
    fates = np.asarray(served, dtype=np.bool_)
    n = len(fates)
    return Visit(
        users,
        np.arange(n) % users,
        start + (np.arange(n) + 0.5) / max(1, n) * HOLD_S,
        fates,
        np.zeros(n, dtype=np.bool_) if broken is None else broken,
        start,
        start + HOLD_S,
    )


def random_visit(users: int, replies: int, share: float, *, seed: int, start: float = 0.0) -> Visit:
    """Independent replies."""
    return visit(users, np.random.default_rng(seed).random(replies) < share, start=start)


def sweep(shares: dict[int, float], *, cycles: int = 20, seed: int = 0) -> list[Visit]:
    """One visit a level, of independent replies."""
    return [
        random_visit(users, users * cycles, share, seed=seed * 100 + i, start=i * 50.0)
        for i, (users, share) in enumerate(shares.items())
    ]


def step_after(estimated: CapacityEstimate) -> NextStep | None:
    """Return what a run with this estimate suggests to measure next."""
    return next_step(next_measurement({}, estimated, Criteria()), estimated)
