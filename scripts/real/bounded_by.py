"""Does a run's diagnosis name the bound that its server was given? `bounded_by.py RUN RULE`; exit code 1 if not."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> int:
    run, rule = sys.argv[1:]
    found = json.loads((Path(run) / "capacity.json").read_text(encoding="utf-8"))["diagnosis"]
    print(found["sentence"])
    for fact in (fact for ruling in found["rules"] if ruling["rule"] == rule for fact in ruling["evidence"]):
        print(f"  {fact['name']}: {fact['value']:.4g} {fact['unit']}")
    return 0 if rule in found["bounds"] else 1


if __name__ == "__main__":
    sys.exit(main())
