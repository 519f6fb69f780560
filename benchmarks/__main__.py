"""Run the benchmarks and write `benchmarks/RESULTS.md`: `python -m benchmarks [PART …]`; without parts, all of them.

What a part finds is kept in `benchmarks/results.json`, so that one part can be measured again by itself. Half an
hour for all, on two cores with nothing else to do.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import accuracy, around, cost, native, peers, results

KEPT = Path(__file__).with_name("results.json")
WRITTEN = Path(__file__).with_name("RESULTS.md")

PARTS: dict[str, Callable[[], Any]] = {
    "accuracy": lambda: accuracy.measure(8),
    "cost": lambda: cost.by_load(3),
    "stages": cost.by_stage,
    "shape": cost.by_shape,
    "workers": cost.by_workers,
    "open": lambda: cost.many_open(10_000),
    "report": lambda: [around.report(10**power) for power in (4, 5, 6)],
    "poller": around.poller,
    "peers": peers.measure,
}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--install-peers", action="store_true", help="make the peers' environments first (downloads)")
    asked = parser.parse_args()
    if wrong := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(wrong))}")
    try:
        [native.program(name) for name in ("paced", "reader", "busy")]
    except native.NoCompilerError as error:
        print(f"benchmarks: SKIPPED, nothing was measured: {error}", file=sys.stderr)
        return 77
    if asked.install_peers:
        peers.install()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for part in asked.parts or PARTS:
        print(f"{part} …", flush=True)
        kept[part] = {"when": results.now(), "machine": results.machine(), "found": PARTS[part]()}
        KEPT.write_text(json.dumps(kept, indent=1, default=float) + "\n")
        WRITTEN.write_text(results.page(kept))
    print(f"{WRITTEN} is written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
