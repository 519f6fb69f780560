"""``make seeds-compare``: measure, compare, and write ``reports/seeds/comparisons/``.

Runs are kept in `reports/runs/seed-comparisons` (ignored by git); what is there is not measured again.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

from scripts.seed_comparisons.comparisons_page import page
from scripts.seed_comparisons.measure import compare, level_figures, measure
from scripts.seed_comparisons.published import COMPARISONS

ROOT = Path(__file__).parents[2]
OUT, SCRATCH = ROOT / "reports" / "seeds" / "comparisons", ROOT / "reports" / "runs" / "seed-comparisons"
FIGURES = "figures.json"


def main() -> int:
    """Measure what is missing, compare, write the pages."""
    parser = argparse.ArgumentParser(prog="python -m scripts.seed_comparisons", description=__doc__)
    parser.add_argument("--only", metavar="PART", default="", help="only comparisons whose key contains this")
    parser.add_argument("--page", action="store_true", help="only write the overview, from what was compared before")
    given = parser.parse_args()
    for comparison in COMPARISONS:
        if given.only in comparison.key and not given.page:
            print(comparison.key, file=sys.stderr, flush=True)
            measure(comparison, SCRATCH)
            out = OUT / comparison.key
            shutil.rmtree(out, ignore_errors=True)
            compare(comparison, SCRATCH, out)
            figures = json.dumps(level_figures(comparison, SCRATCH), indent=1)
            (out / FIGURES).write_text(figures + "\n", encoding="utf-8")
    made = [one for one in COMPARISONS if (OUT / one.key / FIGURES).exists()]
    read = {one.key: [json.loads((OUT / one.key / name).read_text("utf-8")) for name in (FIGURES, "compare.json")]
            for one in made}  # fmt: skip
    (OUT / "README.md").write_text(page(made, read), encoding="utf-8")
    print(OUT / "README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
