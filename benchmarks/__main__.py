"""Run the benchmarks and write `benchmarks/RESULTS.md`: `python -m benchmarks [PART …]`; without parts, run all.

The results of each part are stored in `benchmarks/results.json`, so that parts can be measured separately. All parts
take an hour on two otherwise idle cores.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import accuracy, cost, native, other_costs, peers, results

PAGE_FILE = Path(__file__).with_name("RESULTS.md")

PARTS: dict[str, Callable[[], Any]] = {
    "accuracy": lambda: accuracy.measure(8),
    "cost": lambda: cost.by_load(3),
    "pairs": lambda: cost.by_pairs(6),
    "networks": lambda: cost.by_network(4),
    "stages": cost.by_stage,
    "shape": cost.by_shape,
    "workers": cost.by_workers,
    "open": lambda: cost.many_open(10_000),
    "report": lambda: [other_costs.report(10**power) for power in (4, 5, 6)],
    "poller": other_costs.poller,
    "peers": peers.measure,
}


def main() -> int:
    """Run the selected parts. Returns the exit code: 77 without a C compiler."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one or more of {', '.join(PARTS)}; default: all")
    parser.add_argument("--note", default="", help="what is special about this measurement, for the page")
    parser.add_argument(
        "--install-peers", action="store_true", help="first install the other tools to compare with (downloads)"
    )
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    try:
        [native.build(name) for name in ("paced", "reader", "busy")]
    except native.NoCompilerError as error:
        print(f"benchmarks: SKIPPED, nothing measured: {error}", file=sys.stderr)
        return 77
    if args.install_peers:
        peers.install()
    for part in args.parts or PARTS:
        print(f"{part} …", flush=True)
        when, found = results.now(), PARTS[part]()
        section = results.section(part, when, found, args.note)
        PAGE_FILE.write_text(results.page(PAGE_FILE.read_text(), section))
    print(f"written: {PAGE_FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
