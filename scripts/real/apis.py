"""Load-test a running server through several APIs and check what arrived: `apis.py URL OUT [--reasoning] API…`.

Every reply must be whole and counted by the server. With --reasoning, a good part must begin with reasoning, followed
by an answer. Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

PROBE = Path(sys.executable).with_name("probe")
LOAD = ("--levels", "2", "--hold", "10s", "--input-tokens", "64", "--max-tokens", "100", "--ignore-eos")
MIN_REPLIES = 4
MIN_REASONING_SHARE = 0.25  # the random model ends its reasoning within 100 tokens in about half of its replies


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("out", type=Path)
    parser.add_argument("apis", nargs="+")
    parser.add_argument("--reasoning", action="store_true")
    options = parser.parse_args()
    faults = []
    for api in options.apis:
        out = options.out / api
        command = [PROBE, "run", "capacity", "--host", options.url, "--api", api, *LOAD, "--out", out, "--force"]
        if (code := subprocess.run([str(word) for word in command], check=False).returncode) != 0:
            faults.append(f"{api}: exit code {code}")
            continue
        faults += [f"{api}: {fault}" for fault in check(out / "requests.csv", reasoning=options.reasoning)]
    for fault in faults:
        print(f"FAULT: {fault}", file=sys.stderr)
    return 1 if faults else 0


def check(table: Path, *, reasoning: bool) -> list[str]:
    """Return what is wrong with the replies of a run."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["outcome"] != "ended_by_us"]
    outcomes = Counter(row["outcome"] for row in rows)
    allowed = {"complete", "no_answer"} if reasoning else {"complete"}
    whole = [row for row in rows if row["outcome"] in allowed]
    faults = [f"{n} replies {outcome}" for outcome, n in outcomes.items() if outcome not in allowed]
    if len(whole) < MIN_REPLIES:
        faults.append(f"only {len(whole)} replies")
    faults += ["tokens not counted by the server"] if any(row["tokens_from"] != "usage" for row in whole) else []
    faults += ["a reply was not streamed"] if any(row["delivery"] != "stream" for row in whole) else []
    thought = [row for row in whole if int(row["events_visible"]) < int(row["events"])]
    answered = [row for row in thought if row["first_visible"] and float(row["first_visible"]) > float(row["first"])]
    print(
        f"{table.parent.name}: {dict(outcomes)}, {len(thought)} with reasoning, {len(answered)} with an answer after it"
    )
    if reasoning and len(answered) < MIN_REASONING_SHARE * len(whole):
        faults.append(f"only {len(answered)} of {len(whole)} replies have reasoning and then an answer")
    return faults


if __name__ == "__main__":
    sys.exit(main())
