"""Print how many honest servers are called cheats (there must be none), and how many cheats are found."""

import argparse
import sys

from scripts.scout.honest import CHEATS, counts_truly, honest, look, telling


def main() -> int:
    """Look at all servers; return 1 if an honest one was called a cheat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    false = []
    for number in range(given.seed, given.seed + given.servers):
        model = honest(number)
        found, counts = look(model, None, number)
        false += [(number, model.name, sign.name, sign.evidence) for sign in found.signs]
        if counts_truly(model) and counts.evidence:
            false.append((number, model.name, "token counts", counts.evidence))
    print(f"honest servers called cheats, or true token counts called wrong: {len(false)} of {given.servers}")
    for number, name, sign, evidence in false:
        print(f"  {number} {name}: {sign}: {evidence}")
    numbers = range(given.seed, given.seed + given.servers)
    for cheat in CHEATS:
        found = {
            counter: sum(bool(look(telling(honest(n), counter), cheat, n)[0].signs) for n in numbers)
            for counter in ("own", "none")
        }
        print(f"{cheat.name}: found on {found['own']} of {given.servers} with metrics, on {found['none']} without")
    return 1 if false else 0


if __name__ == "__main__":
    sys.exit(main())
