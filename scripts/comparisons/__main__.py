"""``make study-compare``: how often comparisons are right, on pairs of known difference; writes ``reports/study/``.

Rows are kept as they come (in `reports/runs/comparisons`, ignored by git), so a study that was interrupted goes on
where it stopped. Rows made by other code of the comparison are not used.
"""

import argparse
import json
import os
import sys
from functools import cache
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

from probe_ext.compare.values import Comparison
from probe_ext.verdict.values.json_types import DIMENSIONS
from scripts.comparisons.comparison_study_page import figures, page
from scripts.comparisons.pairs import Pair, compared, pairs
from scripts.study.code_digest import code_digest

ROOT = Path(__file__).parents[2]
OUT, ROWS = ROOT / "reports" / "study", ROOT / "reports" / "runs" / "comparisons" / "rows.jsonl"
SOURCES = (
    "probe_ext/verdict/inference", "scripts/comparisons/pairs.py",
    *(f"probe_ext/compare/{name}.py" for name in (
        "capacity_measured", "compare_set_ups", "level_figures", "measured", "questions", "repeated_runs", "replies",
        "set_up_aspects")),
)  # fmt: skip
PROMISES = {"served", *DIMENSIONS}
Row = dict[str, Any]
Job = tuple[str, int]


def main() -> int:
    """Make the pairs that are missing, then write the page from all rows."""
    parser = argparse.ArgumentParser(prog="python -m scripts.comparisons", description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="pairs of each kind")
    parser.add_argument("--only", action="append", help="only the kinds whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--page", action="store_true", help="write the page from the rows there are")
    given = parser.parse_args()
    names = [pair.name for pair in pairs() if not given.only or any(part in pair.name for part in given.only)]
    if not given.page:
        make_rows([(name, seed) for seed in range(given.pairs) for name in names], given.jobs)
    found = [figures(pair.name, [row for row in read_rows() if row["pair"] == pair.name]) for pair in pairs()]
    study = [one for one in found if one["pairs"]]
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "compare.json").write_text(json.dumps(study, indent=1) + "\n", encoding="utf-8")
    (OUT / "compare.md").write_text(page(study), encoding="utf-8")
    print(OUT / "compare.md")
    return 0


def make_rows(wanted: list[Job], processes: int) -> None:
    """Make the pairs that have no row yet."""
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    done = {(row["pair"], row["seed"]) for row in read_rows()}
    missing = [job for job in wanted if job not in done]
    with Pool(processes) as pool:
        for number, row in enumerate(pool.imap_unordered(make_row, missing), 1):
            with ROWS.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**row, "code": digest()}) + "\n")
            if number % 50 == 0 or number == len(missing):
                print(f"{number} of {len(missing)} pairs", file=sys.stderr, flush=True)


def read_rows() -> list[Row]:
    """Return the rows made by the code as it is now."""
    rows = [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()] if ROWS.exists() else []
    return [row for row in rows if row["code"] == digest()]


@cache
def digest() -> str:
    """Name the code that decides what a row says."""
    return code_digest(ROOT / name for name in SOURCES)


def make_row(job: Job) -> Row:
    """Compare one pair; if it can't be told, once more with the time that was announced."""
    name, seed = job
    pair = next(one for one in pairs() if one.name == name)
    first = compared(pair, seed)
    row = {"pair": name, "seed": seed, **_read(pair, first)}
    minutes, more = row["minutes"], row["minutes_more"]
    if pair.more and row["outcome"] == "cannot_tell" and more is not None:
        again = _read(pair, compared(pair, seed + 100_000, (minutes + more) / minutes))
        row |= {"then": again["outcome"], "then_minutes": again["minutes"]}
    return row


def _read(pair: Pair, comparison: Comparison) -> Row:
    capacity = next((one for one in comparison.rows if one.quantity == "capacity"), None)
    outcome = "none" if capacity is None else capacity.outcome
    others = [row for row in comparison.rows if row.quantity != "capacity"]
    known = [row for row in others if "*" not in pair.unequal]
    told = {row.quantity for row in others if row.outcome in {"better", "worse"}}
    wrong = {row.outcome for row in known if row.quantity not in pair.unequal or (pair.more and row.outcome == "worse")}
    wrongly = {"worse": pair.equal_people or pair.more, "better": pair.equal_people or not pair.more}
    if pair.unequal and not pair.more and not pair.incomparable:
        wrongly["worse"] = False  # the second is worse in truth
    return {
        "outcome": outcome,
        "wrong": outcome if wrongly.get(outcome) or (pair.incomparable and outcome in wrongly) else "",
        "refused": bool(comparison.must_be_equal),
        "others_wrong": sorted(wrong & {"better", "worse"}),
        "differing_told": differing <= told if (differing := pair.unequal & PROMISES) else None,
        "others_told": sorted(told),
        "minutes": sum(one.minutes or 0.0 for one in comparison.set_ups),
        "minutes_more": None if capacity is None else capacity.minutes_more,
        "ten_percent": comparison.minutes_for_ten_percent,
        "reason": "" if capacity is None else capacity.reason,
    }


if __name__ == "__main__":
    sys.exit(main())
