"""``python -m scripts.study.calibration``: does the estimator keep what it claims, on runs of stated truth?

A line a case: how often the interval covers the truth, its width in users, the runs in which a level that holds was
called failed and the reverse, the levels left unproven, the mean error of the estimate, and whether claims are kept.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.inference.quantiles import score_limits
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from scripts.study.stated.stated_truth import HARD, STATED, StatedCase, draw_run, random_case

Z = 1.96
ERROR, HARD_ERROR = 0.025, 0.05
COVERAGE, HARD_COVERAGE = 0.95, 0.90

Runs = Sequence[tuple[StatedCase, CapacityEstimate]]


@dataclass(frozen=True)
class Calibration:
    """Counts of runs, and means over them."""

    runs: int
    covered: int
    false_failed: int
    false_held: int
    unproven_levels: float
    width: float
    bias: float

    def keeps_claims(self, *, hard: bool) -> bool:
        """Whether no one-sided 97.5 % limit contradicts the claims."""
        wrong = max(self.false_failed, self.false_held)
        return (
            self._limits(wrong)[0] <= (HARD_ERROR if hard else ERROR)
            and (HARD_COVERAGE if hard else COVERAGE) <= self._limits(self.covered)[1]
        )

    def _limits(self, count: int) -> tuple[float, float]:
        low, high = score_limits(np.array([float(count)]), np.array([float(self.runs)]), Z)
        return float(low[0]), float(high[0])


def calibrate(case: StatedCase, seeds: range) -> Calibration:
    """Estimate the runs of one case."""
    return summarise([(case, estimate(draw_run(case, seed))) for seed in seeds])


def calibrate_random(seeds: range) -> Calibration:
    """Estimate one run each of random servers."""
    cases = [random_case(seed) for seed in seeds]
    return summarise([(case, estimate(draw_run(case, seed))) for case, seed in zip(cases, seeds, strict=True)])


def summarise(runs: Runs) -> Calibration:
    errors = [result.estimate / case.crossing - 1 for case, result in runs if result.estimate and case.crossing]
    return Calibration(
        runs=len(runs),
        covered=sum(covers(case, result) for case, result in runs),
        false_failed=sum(wrongly(case, result, "failed") for case, result in runs),
        false_held=sum(wrongly(case, result, "held") for case, result in runs),
        unproven_levels=float(np.mean([level.state == "unproven" for _, result in runs for level in result.levels])),
        width=float(np.mean([width(case, result) for case, result in runs])),
        bias=float(np.mean(errors)) if errors else float("nan"),
    )


def covers(case: StatedCase, result: CapacityEstimate) -> bool:
    low, high = result.interval or (0, None)
    return low <= case.capacity and (high is None or case.capacity <= high)


def wrongly(case: StatedCase, result: CapacityEstimate, state: str) -> bool:
    """Return whether a level has this state although the opposite is true."""
    return any(level.state == state and case.holds(level.users) == (state == "failed") for level in result.levels)


def width(case: StatedCase, result: CapacityEstimate) -> int:
    low, high = result.interval or (0, None)
    return (max(case.sweep) if high is None else high) - low + 1


def line(name: str, of: Calibration, *, hard: bool) -> str:
    """One row of the table."""
    shares = [f"{100 * count / of.runs:.1f}" for count in (of.covered, of.false_failed, of.false_held)]
    cells = [
        name + (" (hard)" if hard else ""),
        shares[0],
        f"{of.width:.1f}",
        *shares[1:],
        f"{100 * of.unproven_levels:.0f}",
        "–" if np.isnan(of.bias) else f"{100 * of.bias:+.1f}",
        "yes" if of.keeps_claims(hard=hard) else "NO",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m scripts.study.calibration", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="of each case")
    parser.add_argument("--first-seed", type=int, default=70_000)
    parser.add_argument("--only", default="", help="cases whose names contain this")
    options = parser.parse_args()
    seeds = range(options.first_seed, options.first_seed + options.runs)
    print(f"Seeds {seeds.start} to {seeds.stop - 1}.\n")
    print("| case | covers % | width | false failed % | false held % | levels unproven % | bias % | kept |")
    print("|---|---:|---:|---:|---:|---:|---:|---|")
    for case in (*STATED, *HARD):
        if options.only in case.name:
            print(line(case.name, calibrate(case, seeds), hard=case.hard), flush=True)
    if not options.only:
        print(line("random servers", calibrate_random(seeds), hard=False))


if __name__ == "__main__":
    main()
