"""``python -m scripts.seed_documents``: all five texts beside our figures; writes ``reports/seeds/README.md``.

The figures come from what `make seeds`, `make gauntlet` and `make tap-two-prompts` wrote. Runs that only this page
needs are made if they are missing, and kept in `reports/runs/seed-documents` (ignored by git).
"""

import argparse
import json
import sys
from pathlib import Path

from scripts.seed_documents.cells import cells
from scripts.seed_documents.extra_runs import extra_figures, measure
from scripts.seed_documents.page import beside, page
from scripts.seed_documents.sources import our_figures
from scripts.seeds.__main__ import load_results
from scripts.seeds.compare import compare

ROOT = Path(__file__).parents[2]
OUT, SCRATCH = ROOT / "reports" / "seeds", ROOT / "reports" / "runs" / "seed-documents"


def main() -> int:
    """Measure what is missing and write the page."""
    parser = argparse.ArgumentParser(prog="python -m scripts.seed_documents", description=__doc__)
    parser.add_argument("--page", action="store_true", help="write the page from the committed figures, without runs")
    given = parser.parse_args()
    if not given.page:
        measure(SCRATCH)
        (OUT / "documents.json").write_text(json.dumps(extra_figures(SCRATCH), indent=1) + "\n", encoding="utf-8")
    ours, first = our_figures(), compare(load_results(OUT / "seeds.json"))
    (OUT / "README.md").write_text(page(cells(), ours, first), encoding="utf-8")
    rows = beside(cells(), ours)
    print(f"{sum(row.state == 'within' for row in rows)} of {len(rows)} figures within tolerance: {OUT / 'README.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
