"""Runs whose truth is stated, not measured: visits drawn straight from a stochastic model, in milliseconds.

The served share falls over the users as stated. Time is cut into blocks of 5 s; each has its own share, drawn from a
beta distribution whose variance is the intraclass correlation, and a block repeats the one before with a chance of
`lag`, which is then the correlation of neighbours. Users send their replies one after another.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from probe_ext.verdict.inference.observations import Visit

Floats = NDArray[np.float64]
BLOCK_S = 5.0
LAST_S = 1.0
NEVER = 10**9
"""the capacity of a server that never fails"""


@dataclass(frozen=True)
class StatedCase:
    """A server, its users and a sweep."""

    name: str
    share: Callable[[float], float]
    """served share over users, of a user who is like most"""
    capacity: int
    """the largest number such that it and all below are served"""
    sweep: tuple[int, ...] = (4, 8, 16, 20, 24, 32)
    hold: float = 30.0
    settle: float = 5.0
    reply_s: float = 4.0
    icc: float = 0.10
    lag: float = 0.0
    worse_every: int = 0
    """every so-many-th user is one of the worse ones; 0: none"""
    worse_share: float = 1.0
    broken: float = 0.0
    """share of the replies that break, whatever the load"""
    disturbed_s: float = 0.0
    """how long somebody else takes the server, once, anywhere in the run"""
    drift: float = 0.0
    """users by which the curve moves to the left from the beginning to the end of the run"""
    band_s: float = 0.0
    """a ramp: each measured stretch is this short and nothing settles"""
    hard: bool = False
    crossing: float | None = None
    """where the share crosses 0.90, if it falls through it"""

    def holds(self, users: int) -> bool:
        return users <= self.capacity


def probit(crossing: float, slope: float) -> Callable[[float], float]:
    """Return a share that falls through 0.90 at `crossing`, by `slope` standard deviations a user."""
    return lambda users: 0.5 * math.erfc(-(1.2815515655446004 + slope * (crossing - users)) / math.sqrt(2))


def step(last_good: float, before: float, after: float) -> Callable[[float], float]:
    return lambda users: before if users <= last_good else after


def flat(share: float) -> Callable[[float], float]:
    return lambda users: share


@dataclass
class _Server:
    case: StatedCase
    rng: np.random.Generator
    now: float = 0.0
    disturbed: tuple[float, float] = (0.0, 0.0)

    def visit(self, users: int, run_s: float) -> Visit:
        case, rng = self.case, self.rng
        start = self.now + (0.0 if case.band_s else case.settle)
        end = start + (case.band_s or case.hold)
        self.now = end
        per_user = math.ceil((end - start) / case.reply_s * 2) + 4
        gaps = case.reply_s * rng.lognormal(-0.02, 0.2, (users, per_user))
        gaps[:, 0] *= rng.random(users)
        sent = start + np.cumsum(gaps, axis=1)
        user, column = np.nonzero(sent <= end - LAST_S)
        sent = sent[user, column]
        share = self._shares(users, sent, start, end, run_s)
        if case.worse_every:
            worse = user % case.worse_every == case.worse_every - 1
            share = np.where(worse, share * case.worse_share / max(1e-9, case.share(users)), share)
        taken = (sent >= self.disturbed[0]) & (sent < self.disturbed[1])
        share = np.where(taken, 0.05, np.minimum(share, 1.0))
        broken = rng.random(len(sent)) < case.broken
        served = (rng.random(len(sent)) < share) & ~broken
        return Visit(users, user.astype(np.int64), sent, served, broken, start, end)

    def _shares(self, users: int, sent: Floats, start: float, end: float, run_s: float) -> Floats:
        case = self.case
        blocks = max(1, math.ceil((end - start) / BLOCK_S))
        mean = np.array([
            case.share(users + case.drift * (start + (b + 0.5) * BLOCK_S) / run_s) for b in range(blocks)
        ])  # fmt: skip
        if case.icc:
            size = (1 - case.icc) / case.icc
            share, standing = np.empty(blocks), False
            for b in range(blocks):
                # A block that repeats its neighbour keeps its share.
                standing = b > 0 and self.rng.random() < case.lag
                p = float(np.clip(mean[b], 1e-6, 1 - 1e-6))
                share[b] = share[b - 1] if standing else self.rng.beta(p * size, (1 - p) * size)
        else:
            share = mean
        return share[np.minimum(((sent - start) / BLOCK_S).astype(int), blocks - 1)]


def draw_run(case: StatedCase, seed: int, sweep: tuple[int, ...] | None = None) -> list[Visit]:
    """Draw one run: the visits of its sweep."""
    sweep = sweep or case.sweep
    rng = np.random.default_rng([sum(map(ord, case.name)), seed])
    run_s = len(sweep) * (case.band_s or case.settle + case.hold)
    server = _Server(case, rng)
    if case.disturbed_s:
        begin = rng.random() * (run_s - case.disturbed_s)
        server.disturbed = (begin, begin + case.disturbed_s)
    return [server.visit(users, run_s) for users in sweep]


GENTLE = StatedCase("gentle", probit(21.4, 0.057), 21, crossing=21.4)
STEEP = StatedCase("steep", probit(13.5, 0.30), 13, crossing=13.5)
CLUSTERED = replace(GENTLE, name="clustered", icc=0.35)
FINE = StatedCase("fine", flat(0.97), NEVER)
MANY = StatedCase("many", probit(90.5, 0.018), 90, sweep=(16, 32, 64, 80, 96, 128), crossing=90.5)
RAMP = StatedCase("hand ramp", probit(21.4, 0.10), 21, sweep=tuple(range(1, 41)), band_s=5.0)
MEDIUM = probit(21.4, 0.15)

STATED = (GENTLE, STEEP, CLUSTERED, FINE, MANY)
HARD = (
    replace(GENTLE, name="gentle, lag 0.5", lag=0.5),
    replace(CLUSTERED, name="clustered, lag 0.5", lag=0.5),
    replace(FINE, name="a quarter at 0.3", worse_every=4, worse_share=0.3, capacity=0),
    replace(FINE, name="a quarter at 0.75", worse_every=4, worse_share=0.75, capacity=0),
    replace(FINE, name="3 % at 0.3", worse_every=33, worse_share=0.3, sweep=(8, 16, 32, 64, 100, 128)),
    StatedCase("neighbour's 20 s", MEDIUM, 21, disturbed_s=20.0),
    replace(FINE, name="neighbour's 20 s, fine", disturbed_s=20.0),
    StatedCase("drift 24 to 16", probit(24.0, 0.15), 18, drift=8.0),
    StatedCase("cliff", step(18, 0.97, 0.2), 18),
    StatedCase("0.95 to 0.6", step(18, 0.95, 0.6), 18),
    StatedCase("0.93 to 0.5", step(20, 0.93, 0.5), 20),
    StatedCase("flat 0.90", flat(0.90), NEVER),
    StatedCase("flat 0.92", flat(0.92), NEVER),
    StatedCase("all failing", flat(0.6), 0),
    StatedCase("one and two users", flat(0.97), NEVER, sweep=(1, 2), hold=13.0),
    StatedCase("1000 users", probit(700.0, 0.005), 700, sweep=(100, 400, 1000), hold=12.0, icc=0.10),
    StatedCase("1000 users, flat 0.85", flat(0.85), 0, sweep=(100, 400, 1000), hold=12.0, icc=0.20),
    RAMP,
    replace(RAMP, name="hand ramp, clustered", icc=0.35),
    replace(RAMP, name="hand ramp, lag 0.5", lag=0.5),
    replace(STEEP, name="broken 0.1 %", broken=0.001),
    replace(STEEP, name="broken 0.5 %", broken=0.005),
    replace(STEEP, name="broken 2 %", broken=0.02, capacity=0),
)
HARD = tuple(replace(case, hard=True) for case in HARD)


def random_case(seed: int) -> StatedCase:
    """Draw a server of the families above with figures of its own: what nothing was tuned on."""
    rng = np.random.default_rng([4711, seed])
    crossing = float(np.exp(rng.uniform(np.log(3.0), np.log(150.0)))) + 0.5
    crossing = math.floor(crossing) + float(rng.uniform(0.1, 0.9))
    # Standard deviations from half the crossing to the crossing: from hardly any slope to a cliff.
    slope = float(np.exp(rng.uniform(np.log(0.7), np.log(12.0)))) / (crossing / 2)
    factors = np.sort(rng.uniform(0.15, 1.9, int(rng.integers(4, 8))))
    sweep = tuple(sorted({max(1, round(crossing * float(f))) for f in factors}))
    return StatedCase(
        f"random {seed}",
        probit(crossing, slope),
        math.floor(crossing),
        sweep=sweep,
        hold=float(rng.choice([20.0, 30.0, 45.0, 60.0])),
        reply_s=float(np.exp(rng.uniform(np.log(1.5), np.log(8.0)))),
        icc=float(rng.choice([0.0, 0.03, 0.1, 0.2, 0.35])),
        lag=float(rng.choice([0.0, 0.0, 0.2, 0.4])),
        crossing=crossing,
    )
