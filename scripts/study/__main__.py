"""``make study``: how often the estimate is right, on servers of known truth; writes ``reports/study/``.

Rows are kept as they come (in `reports/runs/study`, ignored by git), so a study that was interrupted goes on where it
stopped. Rows made by other code, as far as it decides what a row of that part says, are not used.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

from scripts.study.code_digest import code_digest
from scripts.study.figures import figures, together
from scripts.study.first_range import first_range_figures
from scripts.study.page import page
from scripts.study.parts import FIRST_RANGE, PARTS, RANDOM_FIRST_RANGE, Job, jobs, run_job
from scripts.study.random_servers import DEFAULT_SALT

ROOT = Path(__file__).parents[2]
OUT, ROWS = ROOT / "reports" / "study", ROOT / "reports" / "runs" / "study"
STATED_SOURCES = (
    "probe_ext/verdict/inference", "probe_ext/verdict/levels/visits.py", "probe_ext/verdict/grading",
    *(f"scripts/study/{name}.py" for name in ("parts", "stated/stated_truth", "truth")),
)  # fmt: skip
RUN_SOURCES = (
    *STATED_SOURCES, "probe_ext/load/level_plan.py", "probe_ext/live/visit_monitor.py",
    *(f"probe_ext/verdict/levels/{name}.py" for name in ("bands", "cut_at_rise", "find_levels", "level_assignment")),
    *(f"scripts/study/{name}.py" for name in (
        "adapter", "random_servers", "servers", "virtual/fast_engine", "virtual/people", "virtual/reply_notes",
        "virtual/swarm", "virtual/virtual_run")),
)  # fmt: skip
SEARCH_SOURCES = (
    *RUN_SOURCES, "probe_ext/load/boundary_search.py", "probe_ext/load/climb_looks.py",
    "probe_ext/measure/unfinished.py", "scripts/study/stated/stated_server.py",
)  # fmt: skip
FIRST_RANGE_SOURCES = (*SEARCH_SOURCES, "probe_ext/live/capacity_range/known_range.py", "scripts/study/first_range.py")
SOURCES = {
    "stated": STATED_SOURCES, "hard": STATED_SOURCES, "search": SEARCH_SOURCES, "stated search": SEARCH_SOURCES,
    FIRST_RANGE: FIRST_RANGE_SOURCES, RANDOM_FIRST_RANGE: FIRST_RANGE_SOURCES,
}  # fmt: skip
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
    parser.add_argument(
        "--adopt", type=int, metavar="N", help="let rows of other code count if N come out the same anew"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part: {', '.join(sorted(unknown))}; valid parts: {', '.join(PARTS)}")
    parts = given.parts or PARTS
    for part in parts if given.adopt else ():
        adopt(part, given.adopt)
    if not given.page:
        wanted = [job for part in parts for job in jobs(part, given.runs, given.salt)]
        make_rows([job for job in wanted if not given.case or job.case in given.case], given.jobs)
    given.out.mkdir(parents=True, exist_ok=True)
    made = {part: summarize(part, read_rows(part)) for part in PARTS}
    study = with_earlier(made, given.out / "study.json")
    text = json.dumps(study, indent=1)
    rounded = json.loads(text, parse_float=lambda number: round(float(number), DECIMALS))
    (given.out / "study.json").write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    (given.out / "README.md").write_text(page(rounded), encoding="utf-8")
    print(given.out / "README.md")
    return 0


def make_rows(wanted: list[Job], processes: int) -> None:
    """Make the runs that have no row yet."""
    ROWS.mkdir(parents=True, exist_ok=True)
    done = {_key(row) for part in PARTS for row in read_rows(part)}
    missing = [job for job in wanted if job.key not in done]
    now = {part: digest(part) for part in PARTS}
    with Pool(processes) as pool:
        for number, row in enumerate(pool.imap_unordered(run_job, missing), 1):
            with _file(row["part"]).open("a", encoding="utf-8") as file:
                file.write(json.dumps({**row, "code": now[row["part"]]}) + "\n")
            if number % 50 == 0 or number == len(missing):
                print(f"{number} of {len(missing)} runs", file=sys.stderr, flush=True)


def adopt(part: str, sample: int) -> None:
    """Take over the rows of the code before, if a sample of them comes out the same; else say which doesn't."""
    now, known = digest(part), _all_rows(part)
    done = {_key(row) for row in known if row["code"] == now}
    others = [row for row in known if row["code"] != now]
    old = [row for row in others if row["code"] == others[-1]["code"] and _key(row) not in done]
    for row in old[:: max(1, len(old) // sample)]:
        again = json.loads(json.dumps(run_job(Job(*_key(row)))))
        if again != {name: value for name, value in row.items() if name not in {"code", "made_by"}}:
            print(
                f"{part}: seed {row['seed']} of {row['case']} comes out otherwise; nothing is adopted", file=sys.stderr
            )
            return
    with _file(part).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({"made_by": row["code"], **row, "code": now}) + "\n" for row in old)
    print(f"{part}: {len(old)} rows adopted", file=sys.stderr)


def read_rows(part: str) -> list[Row]:
    """Rows of this part made by the code as it is now."""
    now = digest(part)
    return [row for row in _all_rows(part) if row["code"] == now]


def _all_rows(part: str) -> list[Row]:
    file = _file(part)
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def _key(row: Row) -> tuple[str, str, int, str]:
    return row["part"], row["case"], row["seed"], row["salt"]


def with_earlier(made: dict[str, list[Row]], file: Path) -> dict[str, list[Row]]:
    """Keep the figures of cases that have no rows of the code as it is; each names the commit that it was made with."""
    earlier: dict[str, list[Row]] = json.loads(file.read_text("utf-8")) if file.exists() else {}
    study = {}
    for part in dict.fromkeys([*PARTS, *earlier]):
        new = {row["case"]: {**row, "commit": commit()} for row in made.get(part, ())}
        old = {row["case"]: row for row in earlier.get(part, ())}
        study[part] = [new.get(case, old.get(case)) for case in dict.fromkeys([*old, *new])]
    return {part: rows for part, rows in study.items() if rows}


@cache
def commit() -> str:
    """The present commit, with a mark if files differ from it."""
    command = ["git", "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def summarize(part: str, rows: Iterable[Row]) -> list[Row]:
    """Figures by case, in the order of the part; the random servers all together."""
    rows = sorted(rows, key=lambda row: (row["case"], row["seed"]))
    if part == "random":
        extra = {"salt": rows[0]["salt"], "adopted": _adopted(rows)} if rows else {}
        return [{**together("random servers", rows), **extra}] if rows else []
    if part in {FIRST_RANGE, RANDOM_FIRST_RANGE}:
        salts = {"salt": rows[0]["salt"]} if rows and rows[0]["salt"] else {}
        cases = {case: list(of) for case, of in groupby(rows, key=lambda row: row["case"])}
        return [{**first_range_figures(of), **salts} for of in cases.values()]
    order = list(dict.fromkeys(job.case for job in jobs(part, 1, "")))
    by_case = {case: list(of) for case, of in groupby(rows, key=lambda row: row["case"])}
    found = {case: {**figures(of), "adopted": _adopted(of)} for case, of in by_case.items()}
    return [found[case] for case in order if case in found]


def _adopted(rows: Iterable[Row]) -> int:
    return sum("made_by" in row for row in rows)


@cache
def digest(part: str) -> str:
    """Name the code that decides what a row of this part says."""
    return code_digest(ROOT / name for name in SOURCES.get(part, RUN_SOURCES))


def _file(part: str) -> Path:
    return ROWS / f"{part.replace(' ', '-')}.jsonl"


if __name__ == "__main__":
    sys.exit(main())
