"""Pairs of runs on virtual time whose difference is known."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from probe_ext.compare.compare_set_ups import compare
from probe_ext.compare.replies import OVERALL, RunReplies, run_replies
from probe_ext.compare.set_up import Run, SetUp
from probe_ext.compare.values import Comparison
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.load.level_plan import LevelPlan
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.sim.profile import load_profile
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.inference.estimate import estimate
from probe_ext.verdict.judge import judge
from probe_ext.verdict.levels.visits import criteria_of
from scripts.study.stated.stated_server import StatedSwarm
from scripts.study.stated.stated_truth import StatedCase, draw_run, probit
from scripts.study.truth import chat
from scripts.study.virtual.people import People
from scripts.study.virtual.virtual_run import Run as VirtualRun
from scripts.study.virtual.virtual_run import drive, hold_levels

LEVELS = (8, 14, 16, 18, 20, 22, 24, 26, 28, 30, 36, 40, 44)
"""of stated servers: around a capacity of 21, and up to twice as much"""
PAUSING_LEVELS, ENGINE_LEVELS = (4, 8, 12, 16, 20, 24), (4, 8, 9, 10, 11, 12, 14)
HOLD_S = 30.0
FIRST_SEED = 80_000
SEEDS_OF_A_SET_UP = 5
"""one for each of its runs"""
PAUSE_SHARE, PAUSE_S, PAUSING_HOLD_S = 0.25, 3.0, 120.0
"""of the replies of a server that differs in silence only"""
SHAPES: Mapping[str, StatedCase] = {
    "steep": StatedCase("steep pair", probit(21.4, 0.30), 21, sweep=LEVELS),
    "medium": StatedCase("medium pair", probit(21.4, 0.15), 21, sweep=LEVELS),
    "clustered": StatedCase("clustered pair", probit(21.4, 0.15), 21, sweep=LEVELS, icc=0.35),
}
"""of the served share over users; in *clustered*, replies of 5 s share one fate"""
DIFFERENCES = (0, 5, 10, 25, 100)
"""per cent, of capacity"""
RESTART_SPREAD = 0.10
DRIFT_IN_TURNS = 0.10
"""of capacity, from the first of four runs to the last"""

Made = Callable[[int, float], Run]
"""a run from a seed and a factor of time"""


@dataclass(frozen=True)
class Pair:
    """Two servers whose difference is known."""

    name: str
    base: Made
    other: Made
    more: bool = False
    """whether the second serves more people"""
    unequal: frozenset[str] = frozenset()
    """other quantities in which the two differ in truth"""
    equal_people: bool = True
    """whether both serve equally many"""
    incomparable: bool = False
    """whether the two must be refused"""
    repeats: int = 1
    """runs of each"""


def pairs() -> list[Pair]:
    """Return all pairs."""
    found = []
    for shape, case in SHAPES.items():
        for percent in DIFFERENCES:
            made = _stated(case), _stated(_scaled(case, 1 + percent / 100))
            differs = frozenset({"served"} if percent else set())
            equal = _capacity(case, 1 + percent / 100) == case.capacity
            found.append(Pair(f"{shape}, {percent} %", *made, bool(percent), differs, equal))
    drifting = replace(SHAPES["medium"], name="drifting pair", share=probit(24.0, 0.15), drift=8.0)
    found.append(Pair("drift only, within each run", _stated(drifting), _stated(drifting)))
    medium = SHAPES["medium"]
    found.append(Pair("drift only, in turns A B B A", _drifting(medium, (0, 3)), _drifting(medium, (1, 2)), repeats=2))
    for repeats in (1, 3):
        varied = _stated(SHAPES["medium"], RESTART_SPREAD)
        runs = f"{repeats} run{'s' * (repeats > 1)} each"
        found.append(Pair(f"each restart differs by 10 %, {runs}", varied, varied, repeats=repeats))
    found.append(Pair("one promise only: silence", _paused(0.0), _paused(PAUSE_SHARE),
                      unequal=frozenset({"served", "silence", "longest_gap_p95"}), equal_people=False))  # fmt: skip
    found.append(Pair("whole runs, 0 %", _engine(8, 80), _engine(8, 80)))
    found.append(Pair("whole runs, 25 %", _engine(8, 80), _engine(10, 80), True, frozenset({"*"}), False))
    found.append(Pair("output length only", _engine(8, 80), _engine(8, 100), incomparable=True,
                      unequal=frozenset({"*"}), equal_people=False))  # fmt: skip
    return found


def compared(pair: Pair, seed: int, times: float = 1.0) -> Comparison:
    """Make both runs of a pair, with so many times the usual time, and compare them."""
    first = 2 * SEEDS_OF_A_SET_UP * (seed + FIRST_SEED)
    both = ("A", pair.base, first), ("B", pair.other, first + SEEDS_OF_A_SET_UP)
    return compare([SetUp(name, [make(at + n, times) for n in range(pair.repeats)]) for name, make, at in both])


def _scaled(case: StatedCase, factor: float) -> StatedCase:
    """Return a server that is as good at `factor` times as many users."""
    share = case.share
    return replace(case, share=lambda users: share(users / factor), capacity=_capacity(case, factor))


def _capacity(case: StatedCase, factor: float) -> int:
    return int(21.4 * factor) if case.capacity else 0


# --- stated servers: visits drawn from a stochastic model --------------------------------------------------------


def _stated(case: StatedCase, spread: float = 0.0) -> Made:
    """A stated server; `spread`: relative, of its capacity from run to run."""

    def made(seed: int, times: float) -> Run:
        factor = math.exp(Random(f"restart/{seed}").gauss(0.0, spread))  # noqa: S311 (a simulation)
        visits = draw_run(replace(_scaled(case, factor), hold=HOLD_S * times), seed)
        found = estimate(visits, criteria_of(chat()))
        replies = RunReplies(
            visits={OVERALL: visits}, samples=dict.fromkeys(("ttft", "decode_rate", "longest_gap"), ()), tokens=(),
            critical=None, tokens_out={}, tokens_in=None, cached=None, end=visits[-1].end,
        )  # fmt: skip
        capacity: dict[str, Any] = {
            "verdict": "unproven" if found.served_users is None else "valid", "sentence": "–", "findings": [],
            "diagnosis": {"bounds": []}, "cold_user": {}, "profile": {}, "gpu": None, "levels": [],
            "served_users": found.served_users, "interval": found.interval, "bracket": found.bracket,
            "drift": found.drift, "contradictions": found.contradictions,
        }  # fmt: skip
        return Run("stated", capacity, {"plan": {"levels": list(LEVELS)}}, chat(), replies)

    return made


def _drifting(case: StatedCase, places: Sequence[int]) -> Made:
    """A stated server that gets worse with every run. `places` in the order of all four runs, of this one's runs."""

    def made(seed: int, times: float) -> Run:
        lost = DRIFT_IN_TURNS * (places[seed % SEEDS_OF_A_SET_UP] / 3 - 0.5)
        return _stated(_scaled(case, 1 - lost))(seed, times)

    return made


# --- whole runs --------------------------------------------------------------------------------------------------


def _judged(evidence: Evidence) -> Run:
    return Run("virtual", judge(evidence, chat()).to_json(), evidence.manifest, chat(), run_replies(evidence, chat()))


def _engine(places: int, reply: int) -> Made:
    """A simulated server with so many places, and replies of this mean length."""
    profile = replace(load_profile("demo"), max_num_seqs=places)

    def made(seed: int, times: float) -> Run:
        return _judged(
            hold_levels(profile, People(reply=reply), ENGINE_LEVELS, seed=seed, hold=HOLD_S * times).evidence
        )

    return made


class _PausingSwarm(StatedSwarm):
    """Users of a stated server of whose replies a share has a silent pause."""

    def __init__(self, share: float, case: StatedCase, seed: int, on_reply: Callable[[ReplyRow], None]) -> None:
        super().__init__(case, seed, on_reply)
        self._pauses, self._share_paused = Random(f"pauses/{seed}"), share  # noqa: S311 (a simulation)

    def _row(self, end: float, user: int, sent: float, *, served: bool) -> ReplyRow:
        row = super()._row(end, user, sent, served=served)
        if self._pauses.random() < self._share_paused and row.first is not None and end - row.first > PAUSE_S:
            return replace(row, longest_gap=PAUSE_S, gap_start=row.first, longest_gap_visible=PAUSE_S)
        return row


def _paused(share: float) -> Made:
    case = StatedCase("pausing", probit(21.4, 0.15), 21, reply_s=4.0)

    def made(seed: int, times: float) -> Run:
        run = VirtualRun(load_profile("demo"), People())
        steps, monitor = LevelPlan(PAUSING_LEVELS, PAUSING_HOLD_S * times, 5.0, 3).begin(), VisitMonitor(chat(), 3)

        def swarm(_profile: Any, _people: Any, number: int, on_reply: Callable[[ReplyRow], None]) -> _PausingSwarm:
            return _PausingSwarm(share, case, number, on_reply)

        drive(run, seed, lambda t, users: steps.target(t, users, monitor), monitor.add, swarm)
        run.plan = steps.as_json()
        return _judged(run.evidence)

    return made
