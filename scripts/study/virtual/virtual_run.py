"""A whole run on virtual time: a plan of levels, simulated people, the simulated server; what comes out is evidence.

run = hold_levels(load_profile("demo"), People(reply=80), (4, 8, 12), seed=1, hold=30.0)
judge(run.evidence, profile)
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from probe_ext.bundled import folder
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.load.boundary_search import SearchPlan, SearchSteps, critical_after
from probe_ext.load.level_plan import LevelPlan
from probe_ext.measure.sketch import LatencySketch
from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow, UserRow
from probe_ext.settings.slo import SloProfile
from probe_ext.settings.slo import load_profile as load_slo
from probe_ext.sim.metrics.vllm_series import cache_config
from probe_ext.sim.profile import Profile
from probe_ext.verdict.evidence.columns import from_rows
from probe_ext.verdict.evidence.evidence import Evidence, LocustCounts, Window
from scripts.study.virtual.people import People
from scripts.study.virtual.reply_notes import WORKER
from scripts.study.virtual.server_book import URL
from scripts.study.virtual.swarm import Swarm

RAMP = 3.0
"""seconds over which new users are spread, as the package's load shape does"""
DRAIN = 30.0
LAG = 0.0001
"""seconds: the receive lag of this client, which has none to measure"""

Target = Callable[[float, int], int | None]
"""users there should be, from the moment and the users there are; None: the run is over"""
MakeSwarm = Callable[[Profile, People, int, Callable[[ReplyRow], None]], Any]
"""users around a server: `Swarm`, or one with the same interface"""


@dataclass
class Run:
    """What a run left behind. Seconds of the run."""

    profile: Profile
    people: People
    plan: Mapping[str, Any] = field(default_factory=dict)
    """as the manifest holds it"""
    replies: list[ReplyRow] = field(default_factory=list)
    gaps: list[GapRow] = field(default_factory=list)
    users: list[UserRow] = field(default_factory=list)
    server: list[ServerRow] = field(default_factory=list)
    tokens: Mapping[int, int] = field(default_factory=dict)
    started: int = 0
    seconds: float = 0.0
    """until nobody asked anew"""
    search: SearchSteps | None = None
    progress: list[tuple[float, int, int | None]] = field(default_factory=list)
    """of a search: from when on the interval was what"""

    @property
    def evidence(self) -> Evidence:
        """As the files of such a run would tell it."""
        counted = sum(row.outcome != "ended_by_us" for row in self.replies)
        return Evidence(
            replies=from_rows(self.replies, ReplyRow),
            gaps=from_rows(self.gaps, GapRow),
            users=from_rows(self.users, UserRow),
            server=from_rows(self.server, ServerRow),
            windows=_windows(self.tokens),
            manifest=_manifest(self),
            locust=LocustCounts(counted, 0),
            damage=(),
        )


def hold_levels(
    profile: Profile,
    people: People,
    levels: tuple[int, ...],
    *,
    seed: int,
    hold: float = 30.0,
    settle: float = 5.0,
    min_replies: int = 3,
) -> Run:
    """Hold these numbers of users one after another, by the stepping that real runs have."""
    plan = LevelPlan(levels, hold, settle, min_replies)
    steps, monitor = plan.begin(), VisitMonitor(load_slo("chat", folder("configs") / "slo"), min_replies)
    run = drive(Run(profile, people), seed, lambda t, users: steps.target(t, users, monitor), monitor.add)
    run.plan = steps.as_json()
    return run


def search(profile: Profile, people: People, slo: SloProfile, plan: SearchPlan, *, seed: int) -> Run:
    """Let the search find the boundary, by the stepping that real runs have."""
    return search_around(Run(profile, people), slo, plan, seed, Swarm)


def search_around(run: Run, slo: SloProfile, plan: SearchPlan, seed: int, swarm: MakeSwarm) -> Run:
    """The same around any server."""
    steps, around, second = plan.begin(), list[Any](), 0.0
    monitor = VisitMonitor(slo, plan.min_replies, critical_after, unfinished=lambda: around[0].unfinished(second))

    def make(*given: Any) -> Any:
        around.append(swarm(*given))
        return around[0]

    def target(now: float, users: int) -> int | None:
        nonlocal second
        second = now
        aim = steps.target(now, users, monitor)
        if steps.interval is not None and (not run.progress or run.progress[-1][1:] != steps.interval):
            run.progress.append((now, *steps.interval))
        return aim

    drive(run, seed, target, monitor.add, make, steady=True)
    steps.review(run.seconds, monitor)
    run.plan, run.search = steps.as_json(), steps
    return run


def drive(
    run: Run,
    seed: int,
    target: Target,
    on_reply: Callable[[ReplyRow], None],
    make_swarm: MakeSwarm = Swarm,
    *,
    steady: bool = False,
) -> Run:
    """Ask once a second how many users there should be, until there should be none; then drain.

    `steady`: users come and go at a constant rate, as in the package's load shape; else ever more slowly.
    """

    def took(row: ReplyRow) -> None:
        run.replies.append(row)
        on_reply(row)

    swarm = make_swarm(run.profile, run.people, seed, took)
    second, wanted, per_second = 0, 0, 0.0
    while True:
        aim = target(float(second), swarm.users)
        if aim is None:
            break
        if aim != wanted:
            per_second = abs(aim - swarm.users) / RAMP
        wanted = aim
        run.users.append(
            UserRow(float(second), swarm.users, wanted, "running" if swarm.users == wanted else "spawning")
        )
        run.server += swarm.server.sample(float(second))
        _pass_a_second(swarm, float(second), wanted, per_second if steady else None)
        second += 1
    _end(run, swarm, float(second), wanted)
    return run


def _pass_a_second(swarm: Swarm, start: float, wanted: int, per_second: float | None) -> None:
    """Users come and go spread over RAMP, at least one a second."""
    missing = wanted - swarm.users
    moves = min(abs(missing), max(1, round(abs(missing) / RAMP) if per_second is None else math.ceil(per_second)))
    for move in range(moves):
        now = start + (move + 0.5) / moves
        swarm.run_until(now)
        if missing > 0:
            swarm.join(now)
        else:
            swarm.leave(now)
    swarm.run_until(start + 1.0)


def _end(run: Run, swarm: Swarm, now: float, wanted: int) -> None:
    run.users.append(UserRow(now, swarm.users, wanted, "stopping"))
    swarm.ending = True
    end = now
    while swarm.in_flight and end < now + DRAIN:
        end += 1.0
        swarm.run_until(end)
        run.server += swarm.server.sample(end)
    swarm.cut_all(end)
    run.gaps, run.tokens = swarm.gaps, dict(swarm.tokens)
    run.started, run.seconds = swarm.started, now


def _windows(tokens: Mapping[int, int]) -> list[Window]:
    lag = LatencySketch()
    lag.add([LAG] * 100)
    return [Window("lag", 0.0, 5.0, None, lag), *(Window("tokens", float(s), 1.0, n, None) for s, n in tokens.items())]


def _manifest(run: Run) -> dict[str, Any]:
    cache = cache_config(run.profile)
    tokens = run.profile.num_gpu_blocks * run.profile.block_size
    worker = {
        "id": WORKER, "host": "virtual-load", "version": "virtual", "clock_offset": 0.0, "clock_error": 0.0,
        "started": run.started, "rows": len(run.replies), "last_word": True, "lost_at": None, "cpu_seconds": 0.0,
        "loop_lag_max": 0.0, "receive_stamps": "kernel",
    }  # fmt: skip
    return {
        "schema": 1, "scenario": "capacity", "locustfile": "capacity.py", "duration": run.seconds,
        "end_reason": "levels_done", "ended_at": "2000-01-01T00:00:00.000Z",
        "plan": run.plan,
        "target": {"host": "http://virtual", "model": run.profile.model}, "workers": [worker],
        "server": [{
            "url": "http://virtual", "metrics_url": URL, "kind": "vllm", "metrics": "ok",
            "max_model_len": run.profile.max_model_len,
            "cache": {"num_gpu_blocks": run.profile.num_gpu_blocks, "block_size": run.profile.block_size,
                      "kv_cache_size_tokens": tokens, "kv_tokens": tokens, "engines": 1,
                      "enable_prefix_caching": cache["enable_prefix_caching"] == "True"},
        }],
        "prompts": {"seed": 0, "input_tokens": run.people.prompt, "counted_by": "tokenize",
                    "shared_prefix_tokens": run.people.shared},
        "warm_up": None, "findings": [],
    }  # fmt: skip
