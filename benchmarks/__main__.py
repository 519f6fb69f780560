"""Run the benchmarks and write `benchmarks/RESULTS.md`: `python -m benchmarks [PART …]`; without parts, run all.

A part replaces its own section of the page, so that parts can be measured separately. All parts take an hour and a half
on two otherwise idle cores.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import accuracy, calm, cost, native, other_costs, peers, results, start_time

PAGE_FILE = Path(__file__).with_name("RESULTS.md")

PARTS: dict[str, Callable[[int | None], Any]] = {
    "accuracy": lambda turns: accuracy.measure(6, turns or 3),
    "pairs": lambda turns: cost.by_pairs(turns or 12),
    "networks": lambda turns: cost.by_network(turns or 8),
    "stages": lambda _: cost.by_stage(),
    "reply": lambda turns: cost.by_reply(turns or 4),
    "shape": lambda turns: cost.by_shape(turns or 4),
    "workers": lambda turns: cost.by_workers(turns or 5),
    "open": lambda _: cost.many_open(results.TARGET_OPEN_STREAMS),
    "start": lambda turns: start_time.measure(turns or 9),
    "report": lambda _: [other_costs.report(10**power) for power in (4, 5, 6)],
    "large-report": lambda _: [other_costs.report(10**7)],
    "poller": lambda _: other_costs.poller(),
    "peers": lambda turns: peers.measure(turns or 4),
}
"""how each is measured, in so many turns; None: in its usual number"""


def main() -> int:
    """Run the selected parts. Returns the exit code: 77 without a C compiler."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one or more of {', '.join(PARTS)}; default: all")
    parser.add_argument("--turns", type=int, help="measure the parts that take turns in so many, or at most so many")
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
        when, say_how_calm = results.now(), calm.watch()
        found = PARTS[part](args.turns)
        print(json.dumps(found, default=float), flush=True)
        section = results.section(part, when, found, " ".join(filter(None, (say_how_calm(), args.note))))
        PAGE_FILE.write_text(results.page(PAGE_FILE.read_text(), section))
    print(f"written: {PAGE_FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
