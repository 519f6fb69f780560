"""Is the bound named that was built in, and no other? Over many seeds, with the server's metrics and without.

python -m scripts.study.diagnosis.diagnoses --seeds 12
"""

import argparse
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from probe_ext.bundled import folder
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.load.level_plan import LevelPlan
from probe_ext.settings.slo import load_profile
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.judge import judge
from scripts.study.diagnosis.chance_of_overlap import chance_section
from scripts.study.diagnosis.hostile_servers import HELD_OUT_HOSTILE, HOSTILE, Hostile
from scripts.study.diagnosis.regimes import HELD_OUT, REGIMES, Regime
from scripts.study.virtual.virtual_run import Run, drive, hold_levels

PAGE = Path("reports/study/diagnosis.md")
HOLD, SETTLE, MIN_REPLIES = 20.0, 5.0, 3
CHAT = load_profile("chat", folder("configs") / "slo")
HEAD = """# Diagnosis against truth

Each row is a simulated server whose limit is known by construction, run on virtual time and judged as any run is; its
levels are held for {hold:.0f} s each. *Right*: the rules that hold are just those. *Missed*: none wrong, but one not
claimed. *Wrong*: one claimed that is not so. Without metrics the server tells nothing of itself, nor do its replies say
what came from a cache; there, what cannot be known must not be claimed. In brackets: true as well, but need not show.

Made by `python -m scripts.study.diagnosis.diagnoses --seeds {seeds}` (seeds 1 to {seeds}); the rules:
[docs](../../docs/diagnosis.md).

"""
COLUMNS = """
| server | limit | | right | missed | wrong | without metrics | right | missed | wrong |
|---|---|---|---:|---:|---:|---|---:|---:|---:|
"""


@dataclass
class Score:
    """How often."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, found: frozenset[str], truth: frozenset[str], allowed: frozenset[str] = frozenset()) -> None:
        """One run more."""
        right = truth <= found <= truth | allowed
        self.counts["right" if right else "missed" if found <= truth | allowed else "wrong"] += 1

    def cells(self) -> str:
        """Three cells of a table."""
        return " | ".join(str(self.counts[name]) for name in ("right", "missed", "wrong"))


def blind(evidence: Evidence) -> Evidence:
    """The same run at a server without metrics, whose replies do not tell what came from its cache."""
    replies = {**evidence.replies, "tokens_cached": np.full(len(evidence.replies["sent"]), np.nan)}
    return replace(evidence, server={}, replies=replies, manifest={**evidence.manifest, "server": []})


def evidence_of(regime: Regime | Hostile, seed: int) -> Evidence:
    """One run of it."""
    if isinstance(regime, Regime):
        return hold_levels(regime.profile, regime.people, regime.levels, seed=seed, hold=HOLD).evidence
    steps, monitor = LevelPlan(regime.levels, HOLD, SETTLE, MIN_REPLIES).begin(), VisitMonitor(CHAT, MIN_REPLIES)
    run = Run(regime.profile, regime.people)
    drive(run, seed, lambda t, users: steps.target(t, users, monitor), monitor.add, regime.swarm)
    run.plan = steps.as_json()
    return _with_engines(run.evidence, regime.engines)


def _with_engines(evidence: Evidence, engines: int) -> Evidence:
    """State the caches of all engines together, as vLLM does."""
    (server,) = evidence.manifest["server"]
    grown = {name: server["cache"][name] * engines for name in ("num_gpu_blocks", "kv_tokens", "engines")}
    cache = {**server["cache"], **grown}
    return replace(evidence, manifest={**evidence.manifest, "server": [{**server, "cache": cache}]})


def scores(regime: Regime | Hostile, seeds: int) -> tuple[Score, Score]:
    """With metrics, and without."""
    seen, unseen = Score(), Score()
    for seed in range(1, seeds + 1):
        evidence = evidence_of(regime, seed)
        seen.add(_found(evidence), regime.bounds, regime.allowed)
        unseen.add(_found(blind(evidence)), regime.outside, regime.outside_allowed)
    return seen, unseen


def _found(evidence: Evidence) -> frozenset[str]:
    return frozenset(judge(evidence, CHAT).diagnosis.bounds)


def _rules(bounds: frozenset[str], allowed: frozenset[str]) -> str:
    named = ", ".join(f"`{bound}`" for bound in sorted(bounds)) or "nothing"
    return named + (f" ({', '.join(f'`{bound}`' for bound in sorted(allowed))})" if allowed else "")


def main() -> int:
    """Write the page; exit code 1 where anything was claimed wrongly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--only", default="", help="part of the names of the servers; the page is not written then")
    given = parser.parse_args()
    text, wrong = HEAD.format(hold=HOLD, seeds=given.seeds), 0
    for title, regimes in (("Plain servers", REGIMES), ("Servers that mislead", HOSTILE | HELD_OUT_HOSTILE)):
        text += f"## {title}\n{COLUMNS}"
        for name, regime in regimes.items():
            if given.only not in name:
                continue
            seen, unseen = scores(regime, given.seeds)
            wrong += seen.counts["wrong"] + unseen.counts["wrong"]
            kind = "held out" if name in HELD_OUT | HELD_OUT_HOSTILE else "tuned on"
            inside, outside = _rules(regime.bounds, regime.allowed), _rules(regime.outside, regime.outside_allowed)
            line = f"| {name} | {inside} | {kind} | {seen.cells()} | {outside} | {unseen.cells()} |"
            print(line, flush=True)
            text += line + "\n"
        text += "\n"
    text += chance_section()
    if not given.only:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
