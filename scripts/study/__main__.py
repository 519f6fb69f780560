"""``make study``: how often the estimate is right, on servers of known truth; writes ``reports/study/``.

Rows are kept as they come (in `reports/runs/study`, ignored by git), so a study that was interrupted goes on where it
stopped. Rows made by other code, as far as it decides what a row of that part says, are not used.
"""

import argparse
import ast
import hashlib
import json
import os
import sys
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

from scripts.study.figures import figures, together
from scripts.study.page import page
from scripts.study.parts import PARTS, Job, jobs, run_job
from scripts.study.random_servers import DEFAULT_SALT

ROOT = Path(__file__).parents[2]
OUT, ROWS = ROOT / "reports" / "study", ROOT / "reports" / "runs" / "study"
STATED_SOURCES = (
    "probe_ext/verdict/inference", "probe_ext/verdict/levels/visits.py", "probe_ext/verdict/grading",
    *(f"scripts/study/{name}.py" for name in ("parts", "stated_truth", "truth")),
)  # fmt: skip
RUN_SOURCES = (
    *STATED_SOURCES, "probe_ext/load/level_plan.py", "probe_ext/live/visit_monitor.py",
    *(f"probe_ext/verdict/levels/{name}.py" for name in ("bands", "cut_at_rise", "find_levels", "level_assignment")),
    *(f"scripts/study/{name}.py" for name in (
        "adapter", "fast_engine", "people", "random_servers", "reply_notes", "servers", "swarm", "virtual_run")),
)  # fmt: skip
SEARCH_SOURCES = (*RUN_SOURCES, "probe_ext/load/boundary_search.py", "scripts/study/stated_server.py")
SOURCES = {"stated": STATED_SOURCES, "hard": STATED_SOURCES, "search": SEARCH_SOURCES, "stated search": SEARCH_SOURCES}
"""of a part, where they aren't RUN_SOURCES: the code that decides what its rows say"""
DECIMALS = 4

Row = dict[str, Any]


def main() -> int:
    """Run what is missing, then write the page from all rows."""
    parser = argparse.ArgumentParser(prog="python -m scripts.study", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--runs", type=int, help="runs per case, fewer or more than usual")
    parser.add_argument("--case", action="append", help="only this case")
    parser.add_argument("--salt", default=DEFAULT_SALT, help="a commit hash, which seeds the random servers")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--page", action="store_true", help="write the page from the rows there are, without new runs")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part: {', '.join(sorted(unknown))}; valid parts: {', '.join(PARTS)}")
    parts = given.parts or PARTS
    if not given.page:
        wanted = [job for part in parts for job in jobs(part, given.runs, given.salt)]
        make_rows([job for job in wanted if not given.case or job.case in given.case], given.jobs)
    study = {part: found for part in PARTS if (found := summarize(part, read_rows(part)))}
    given.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(study, indent=1)
    rounded = json.loads(text, parse_float=lambda number: round(float(number), DECIMALS))
    (given.out / "study.json").write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    (given.out / "README.md").write_text(page(rounded), encoding="utf-8")
    print(given.out / "README.md")
    return 0


def make_rows(wanted: list[Job], processes: int) -> None:
    """Make the runs that have no row yet."""
    ROWS.mkdir(parents=True, exist_ok=True)
    done = {(row["part"], row["case"], row["seed"], row["salt"]) for part in PARTS for row in read_rows(part)}
    missing = [job for job in wanted if job.key not in done]
    now = {part: digest(part) for part in PARTS}
    with Pool(processes) as pool:
        for number, row in enumerate(pool.imap_unordered(run_job, missing), 1):
            with _file(row["part"]).open("a", encoding="utf-8") as file:
                file.write(json.dumps({**row, "code": now[row["part"]]}) + "\n")
            if number % 50 == 0 or number == len(missing):
                print(f"{number} of {len(missing)} runs", file=sys.stderr, flush=True)


def read_rows(part: str) -> list[Row]:
    """Rows of this part made by the code as it is now."""
    if not _file(part).exists():
        return []
    now = digest(part)
    rows = [json.loads(line) for line in _file(part).read_text("utf-8").splitlines()]
    return [row for row in rows if row["code"] == now]


def summarize(part: str, rows: Iterable[Row]) -> list[Row]:
    """Figures by case, in the order of the part; the random servers all together."""
    rows = sorted(rows, key=lambda row: (row["case"], row["seed"]))
    if part == "random":
        return [{**together("random servers", rows), "salt": rows[0]["salt"]}] if rows else []
    order = list(dict.fromkeys(job.case for job in jobs(part, 1, "")))
    found = {case: figures(list(of)) for case, of in groupby(rows, key=lambda row: row["case"])}
    return [found[case] for case in order if case in found]


@cache
def digest(part: str) -> str:
    """Name the code that decides what a row of this part says; comments and docstrings don't count."""
    paths = [ROOT / name for name in SOURCES.get(part, RUN_SOURCES)]
    files = {file for path in paths for file in ([path] if path.suffix else path.rglob("*.py"))}
    known = hashlib.sha256()
    for file in sorted(files):
        known.update(_statements(file.read_text("utf-8")).encode())
    return known.hexdigest()[:12]


def _statements(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [one for one in body if not _is_text(one)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _file(part: str) -> Path:
    return ROWS / f"{part.replace(' ', '-')}.jsonl"


if __name__ == "__main__":
    sys.exit(main())
