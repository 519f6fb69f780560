"""Check that a run's diagnosis names the expected bottleneck: `bounded_by.py RUN RULE`; exit code 1 if not."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> int:
    run, rule = sys.argv[1:]
    diagnosis = json.loads((Path(run) / "capacity.json").read_text(encoding="utf-8"))["diagnosis"]
    print(diagnosis["sentence"])
    evidence = [fact for each in diagnosis["rules"] if each["rule"] == rule for fact in each["evidence"]]
    for fact in evidence:
        print(f"  {fact['name']}: {fact['value']:.4g} {fact['unit']}")
    return 0 if rule in diagnosis["bounds"] else 1


if __name__ == "__main__":
    sys.exit(main())
