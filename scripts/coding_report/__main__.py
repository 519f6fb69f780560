"""``make coding-report``: is this card a coding assistant for a team? Writes ``reports/coding/``.

Runs are kept in `reports/runs/coding` (ignored by git); what is there is not measured again.
"""

import argparse
import json
import sys
from pathlib import Path

from scripts.coding_report.figures import all_figures
from scripts.coding_report.page import page
from scripts.coding_report.runs import PROFILE, RUNS, directory
from scripts.simulated_run import simulated_run

ROOT = Path(__file__).parents[2]
OUT, SCRATCH = ROOT / "reports" / "coding", ROOT / "reports" / "runs" / "coding"


def main() -> int:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(prog="python -m scripts.coding_report", description=__doc__)
    parser.add_argument("--page", action="store_true", help="write the page from coding.json, without runs")
    given = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    data = OUT / "coding.json"
    if not given.page:
        for run in RUNS:
            if not (directory(SCRATCH, run) / "capacity.json").exists():
                print(run.name, file=sys.stderr, flush=True)
                simulated_run(("--profile", PROFILE), run.options, directory(SCRATCH, run))
        data.write_text(json.dumps(all_figures(SCRATCH), indent=1) + "\n", encoding="utf-8")
    (OUT / "README.md").write_text(page(json.loads(data.read_text(encoding="utf-8"))), encoding="utf-8")
    print(OUT / "README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
