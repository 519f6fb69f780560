"""``python -m scripts.study``: study the verdict and the search, write ``reports/study/README.md`` and its figures."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import probe_ext
from scripts.study import coverage, effort
from scripts.study.page import page
from scripts.study.servers import cases

HERE = Path(__file__).parents[2] / "reports" / "study"
PARTS: dict[str, Callable[[Pool, int], list[dict[str, Any]]]] = {"coverage": coverage.study, "effort": effort.study}
DECIMALS = 4


def main() -> int:
    """Run what was asked for, then write the page from all that is known."""
    parser = argparse.ArgumentParser(prog="python -m scripts.study", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all of them, if none is named")
    names = [case.name for case in cases()]
    parser.add_argument("--only", choices=names, action="append", help="this server alone; the others stay as they are")
    parser.add_argument("--out", type=Path, default=HERE, help="where the page goes")
    parser.add_argument("--page", action="store_true", help="run nothing: write the page anew from its figures")
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    data = given.out / "study.json"
    given.out.mkdir(parents=True, exist_ok=True)
    with Pool(min(os.cpu_count() or 1, 8)) as pool:
        for name in () if given.page else given.parts or PARTS:
            for number in [names.index(only) for only in given.only or names]:
                keep(data, name, PARTS[name](pool, number), names)
                print(f"{name}: {names[number]}", file=sys.stderr, flush=True)
    found = known(data)
    if not all(found.values()):
        print("no page yet: nothing is known of", ", ".join(part for part, rows in found.items() if not rows))
        return 0
    made = f"Studied with probe_ext {probe_ext.__version__}."
    (given.out / "README.md").write_text(page(found, made), encoding="utf-8")
    print(given.out / "README.md")
    return 0


def known(data: Path) -> dict[str, list[dict[str, Any]]]:
    """What was found so far."""
    found = json.loads(data.read_text(encoding="utf-8")) if data.exists() else {}
    return {part: found.get(part, []) for part in PARTS}


def keep(data: Path, part: str, rows: list[dict[str, Any]], names: list[str]) -> None:
    """Put new rows in the place of older ones of the same server."""
    found, new = known(data), {one["case"] for one in rows}
    rows = json.loads(json.dumps(rows), parse_float=lambda text: round(float(text), DECIMALS))
    found[part] = sorted(
        [*(o for o in found[part] if o["case"] not in new), *rows], key=lambda o: names.index(o["case"])
    )
    data.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
