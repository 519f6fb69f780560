"""How often are pauses and preemptions, which have nothing in common but the load, called connected?"""

from collections import Counter

import numpy as np

from probe_ext.verdict.evidence.columns import Floats
from probe_ext.verdict.server.overlap import counter_rises, overlap, windows
from probe_ext.verdict.server.server_series import Series
from probe_ext.verdict.values.pause_types import OverlapResult

SECONDS = 300
COUNTS = ((40, 30), (15, 60))
"""pauses and preemptions, means"""
LOADS = {
    "even load": None,
    "ramp": None,
    "busy spells of 8 s": 8.0,
    "busy spells of 20 s": 20.0,
    "busy spells of 60 s": 60.0,
}
"""mean length of a spell"""
HEAD = """## Pauses and preemptions

Runs of {seconds} s in which pauses and preemptions share the load and nothing else, {runs} each; in busy spells both
are 19 times as frequent. There *more than chance* is an error, in at most 2.5 % of runs. In the last rows, each of
30 pauses ends with a preemption with the stated probability: there it is right.

| load | pauses, preemptions | more than chance | cannot tell | no sign |
|---|---|---:|---:|---:|
"""


def independent(load: str, seed: int, pauses: int, preemptions: int) -> OverlapResult:
    """One run in which both share the load alone."""
    random = np.random.default_rng([seed, len(load)])
    rates = _rates(load, random)
    return _compared(_moments(random, rates, pauses), _moments(random, rates, preemptions))


def linked(share: float, seed: int) -> OverlapResult:
    """One run in which this share of 30 pauses ends with a preemption."""
    random = np.random.default_rng([seed, 99])
    ends = np.sort(random.uniform(0, SECONDS - 1, 30))
    own = ends[random.random(30) < share] - 0.01
    return _compared(ends, np.concatenate([own, random.uniform(0, SECONDS, 10)]))


def _compared(ends: Floats, preempted: Floats) -> OverlapResult:
    t = np.arange(SECONDS + 1.0)
    series = Series(t, np.searchsorted(np.sort(preempted), t, side="right").astype(np.float64))
    return overlap(counter_rises([series]), ends, windows([], [series], float(SECONDS))).result


def _moments(random: np.random.Generator, rates: Floats, mean: int) -> Floats:
    seconds = random.choice(SECONDS, max(1, random.poisson(mean)), p=rates / rates.sum())
    return np.sort(seconds + random.random(len(seconds)))


def _rates(load: str, random: np.random.Generator) -> Floats:
    spell = LOADS[load]
    if spell is None:
        return np.ones(SECONDS) if load == "even load" else np.arange(SECONDS, dtype=np.float64)
    rates, at, busy = np.zeros(SECONDS), 0.0, bool(random.random() < 0.5)
    while at < SECONDS:
        lasts = max(2.0, float(random.exponential(spell)))
        rates[int(at) : int(at + lasts)] = 1.9 if busy else 0.1
        at, busy = at + lasts, not busy
    return rates + 1e-9


def chance_section(runs: int = 200) -> str:
    """Return the section of the page."""
    lines = [HEAD.format(seconds=SECONDS, runs=runs)]
    for load in LOADS:
        for counts in COUNTS:
            found = Counter(independent(load, seed, *counts) for seed in range(runs))
            lines.append(_line(load, f"{counts[0]}, {counts[1]}", found, runs))
    for share in (0.5, 0.9):
        found = Counter(linked(share, seed) for seed in range(runs))
        lines.append(_line(f"{100 * share:.0f} % linked", "30, and 10 others", found, runs))
    return "".join(lines)


def _line(load: str, counts: str, found: Counter[OverlapResult], runs: int) -> str:
    results: tuple[OverlapResult, ...] = ("more_than_chance", "cannot_tell", "no_sign")
    return f"| {load} | {counts} | {' | '.join(f'{100 * found[result] / runs:.1f} %' for result in results)} |\n"
