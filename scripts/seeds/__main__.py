"""``make seeds-card``: run all trials and write ``reports/seeds/rtx3060.md`` and ``seeds.json``."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import probe_ext
from scripts.seeds.compare import Compared, compare
from scripts.seeds.page import page
from scripts.seeds.run_trial import Result, run_trial
from scripts.seeds.trials import Trial, trials

PAGE_DIR = Path(__file__).parents[2] / "reports" / "seeds"
PAGE_NAME = "rtx3060.md"
DECIMALS = 4


def main() -> int:
    """Run, compare, write the page. A figure outside its tolerance is marked on the page; it is not an error."""
    parser = argparse.ArgumentParser(prog="python -m scripts.seeds", description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE_DIR, help="folder for the page and seeds.json")
    parser.add_argument("--keep", type=Path, help="keep the run directories in this folder")
    parser.add_argument("--only", metavar="PART", default="", help="measure only trials whose name contains this again")
    parser.add_argument("--page", action="store_true", help="only regenerate the page from seeds.json")
    args = parser.parse_args()
    data = args.out / "seeds.json"
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.page:
        known = {result.trial.name: result for result in load_results(data)} if args.only else {}
        measured = [
            _timed_run(trial, args.keep) if args.only in trial.name else known[trial.name] for trial in trials()
        ]
        data.write_text(json.dumps(to_json(measured, compare(measured)), indent=1) + "\n", encoding="utf-8")
    results = load_results(data)
    cells = compare(results)
    provenance = f"Measured with probe_ext {probe_ext.__version__}; {len(results)} runs."
    (args.out / PAGE_NAME).write_text(page(results, cells, provenance), encoding="utf-8")
    outside = [cell for cell in cells if not cell.within]
    print(f"{len(cells) - len(outside)} of {len(cells)} figures within tolerance: {args.out / PAGE_NAME}")
    return 0


def _timed_run(trial: Trial, keep: Path | None) -> Result:
    start = time.perf_counter()  # noqa: TID251 - progress output
    result = run_trial(trial, keep)
    print(f"{trial.name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)  # noqa: TID251 - progress output
    return result


def to_json(results: Sequence[Result], cells: Sequence[Compared]) -> dict[str, Any]:
    """Convert to JSON-compatible types."""
    return {
        "runs": [
            {**asdict(r.trial), "figures": {k: v if v is None else round(v, DECIMALS) for k, v in r.figures.items()}}
            for r in results
        ],
        "cells": [
            {**asdict(c.cell), "measured": round(c.measured, DECIMALS), "fitted": c.fitted, "within": c.within}
            for c in cells
        ],
    }


def load_results(data: Path) -> list[Result]:
    """Load the runs of a ``seeds.json``."""
    runs = json.loads(data.read_text(encoding="utf-8"))["runs"]
    results = []
    for run in runs:
        figures = run.pop("figures")
        results.append(Result(Trial(**{**run, "options": tuple(run["options"])}), figures))
    return results


if __name__ == "__main__":
    sys.exit(main())
