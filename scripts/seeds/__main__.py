"""``python -m scripts.seeds``: measure everything, write ``reports/seeds/README.md`` and ``seeds.json``."""

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
from scripts.seeds.drive import Result, drive
from scripts.seeds.page import page
from scripts.seeds.trials import Trial, trials

HERE = Path(__file__).parents[2] / "reports" / "seeds"
DECIMALS = 4


def main() -> int:
    """Run, compare, write. A cell outside its bound stands in the page as that and is no failure."""
    parser = argparse.ArgumentParser(prog="python -m scripts.seeds", description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="where the page goes")
    parser.add_argument("--keep", type=Path, help="keep every run's directory here")
    parser.add_argument("--page", action="store_true", help="measure nothing: write the page from seeds.json anew")
    given = parser.parse_args()
    data = given.out / "seeds.json"
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.page:
        measured = [_measured(trial, given.keep) for trial in trials()]
        data.write_text(json.dumps(written(measured, compare(measured)), indent=1) + "\n", encoding="utf-8")
    results = read(data)
    cells = compare(results)
    made = f"Measured with probe_ext {probe_ext.__version__}; {len(results)} runs."
    (given.out / "README.md").write_text(page(results, cells, made), encoding="utf-8")
    outside = [cell for cell in cells if not cell.within]
    print(f"{len(cells) - len(outside)} of {len(cells)} cells within their bounds: {given.out / 'README.md'}")
    return 0


def _measured(trial: Trial, keep: Path | None) -> Result:
    began = time.perf_counter()  # noqa: TID251 - progress for whoever waits
    result = drive(trial, keep)
    print(f"{trial.name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)  # noqa: TID251 - as above
    return result


def written(results: Sequence[Result], cells: Sequence[Compared]) -> dict[str, Any]:
    """Plain types."""
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


def read(data: Path) -> list[Result]:
    """The runs of an earlier ``seeds.json``."""
    runs = json.loads(data.read_text(encoding="utf-8"))["runs"]
    results = []
    for run in runs:
        figures = run.pop("figures")
        results.append(Result(Trial(**{**run, "options": tuple(run["options"])}), figures))
    return results


if __name__ == "__main__":
    sys.exit(main())
