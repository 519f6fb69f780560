"""Is the bound named that was built in, and no other? Over many seeds, with the server's metrics and without.

python -m scripts.study.diagnoses --seeds 12
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from probe_ext.bundled import folder
from probe_ext.settings.slo import load_profile
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.evidence import Evidence
from scripts.study.regimes import HELD_OUT, REGIMES, Regime
from scripts.study.virtual_run import hold_levels

PAGE = Path("reports/study/diagnosis.md")
HOLD = 20.0
CHAT = load_profile("chat", folder("configs") / "slo")
HEAD = """# Diagnosis against truth

Each row is a simulated server whose bound is known by construction, run on virtual time and judged as any run is; its
levels are held for {hold:.0f} s each. *Right*: the rules that hold are just those. *Missed*: none wrong, but one not
claimed. *Wrong*: one claimed that is not so. Without metrics the server tells nothing of itself, nor do its replies say
what came from a cache; there, what cannot be known must not be claimed.

Made by `python -m scripts.study.diagnoses --seeds {seeds}` (seeds 1 to {seeds}); the rules:
[docs](../../docs/diagnosis.md).

| server | bound by | | right | missed | wrong | without metrics: can be known | right | missed | wrong |
|---|---|---|---:|---:|---:|---|---:|---:|---:|
"""


@dataclass
class Score:
    """How often."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, found: frozenset[str], truth: frozenset[str]) -> None:
        """One run more."""
        self.counts["right" if found == truth else "missed" if found <= truth else "wrong"] += 1

    def cells(self) -> str:
        """Three cells of a table."""
        return " | ".join(str(self.counts[name]) for name in ("right", "missed", "wrong"))


def blind(evidence: Evidence) -> Evidence:
    """The same run at a server without metrics, whose replies do not tell what came from its cache."""
    replies = {**evidence.replies, "tokens_cached": np.full(len(evidence.replies["sent"]), np.nan)}
    return replace(evidence, server={}, replies=replies, manifest={**evidence.manifest, "server": []})


def evidence_of(regime: Regime, seed: int) -> Evidence:
    """One run of it."""
    return hold_levels(regime.profile, regime.people, regime.levels, seed=seed, hold=HOLD).evidence


def scores(regime: Regime, seeds: int) -> tuple[Score, Score]:
    """With metrics, and without."""
    seen, unseen = Score(), Score()
    for seed in range(1, seeds + 1):
        evidence = evidence_of(regime, seed)
        seen.add(frozenset(judge(evidence, CHAT).diagnosis.bounds), regime.bounds)
        unseen.add(frozenset(judge(blind(evidence), CHAT).diagnosis.bounds), regime.outside)
    return seen, unseen


def main() -> int:
    """Write the page; exit code 1 where anything was claimed wrongly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    seeds = parser.parse_args().seeds
    lines, wrong = [], 0
    for name, regime in REGIMES.items():
        seen, unseen = scores(regime, seeds)
        wrong += seen.counts["wrong"] + unseen.counts["wrong"]
        bounds = ", ".join(f"`{bound}`" for bound in sorted(regime.bounds))
        outside = ", ".join(f"`{bound}`" for bound in sorted(regime.outside)) or "nothing"
        held = "held out" if name in HELD_OUT else "tuned on"
        lines.append(f"| {name} | {bounds} | {held} | {seen.cells()} | {outside} | {unseen.cells()} |")
        print(lines[-1], flush=True)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(HEAD.format(hold=HOLD, seeds=seeds) + "\n".join(lines) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
