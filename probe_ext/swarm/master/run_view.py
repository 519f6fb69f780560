"""A frozen view of a run for displays, which get a new one each time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe_ext.live.live_run import LiveRun
from probe_ext.load.boundary_search import EarlyRange, SearchSteps
from probe_ext.load.level_plan import LevelPlan
from probe_ext.load.series_plan import SeriesPlan
from probe_ext.measure import clock
from probe_ext.swarm.master.run_facts import RunFacts

MASTER = "master"
"""id of the master's own row among the workers"""


@dataclass(frozen=True)
class RunView:
    """A run at one moment."""

    id: str
    scenario: str
    directory: Path
    started_at: str
    host: str
    model: str | None
    profile: str
    load: str
    """`rate` of an open stream, else `users`"""
    levels: tuple[int, ...] | None
    search: bool
    goes_on: bool
    """whether it is a search that goes on although it has reached its precision"""
    metrics: bool
    """whether the server's metrics are read"""
    position: str
    """current step of the plan; empty without one"""
    early_range: EarlyRange | None
    """of a search: what replies that go on suggest"""
    end_reason: str | None
    ended: bool
    problems: list[str]
    live: LiveRun | None
    workers: list[dict[str, Any]]
    seconds: float = 0.0
    """of the run so far"""
    by_host: str | None = None
    """replies by server, in a run over several; None with a single server"""


def view_of(run: RunFacts) -> RunView:
    """Return the current view of a run."""
    preparation = run.preparation
    return RunView(
        id=run.id,
        scenario=run.scenario,
        directory=run.directory,
        started_at=clock.utc_text(run.started_unix),
        host=preparation.host,
        model=preparation.model,
        profile=preparation.profile["name"],
        load="users" if run.stream is None else "rate",
        levels=run.plan.levels if isinstance(run.plan, LevelPlan | SeriesPlan) else None,
        search=run.options.search,
        goes_on=run.goes_on,
        metrics=bool(preparation.metrics_urls) and not run.options.no_metrics,
        position=run.live.now.position if run.live and run.live.now else "",
        early_range=run.steps.early_range if isinstance(run.steps, SearchSteps) else None,
        end_reason=run.end_reason,
        ended=run.ended is not None,
        problems=run.problems(),
        live=run.live,
        workers=_workers(run),
        seconds=run.now(),
        by_host=run.host_counts.line() if preparation.by_host else None,
    )


def _workers(run: RunFacts) -> list[dict[str, Any]]:
    """One row per process; keys: docs/live-json.md."""
    runner = run.environment.runner
    single_process, clients = not hasattr(runner, "clients"), getattr(runner, "clients", {})
    now, live = run.now(), run.live
    lags = live.lags() if live else {}
    rows = []
    for worker in run.workers.known.values():
        client, lost = clients.get(worker.id), worker.lost_at is not None
        reported = run.collector.reported.get(worker.id, {})
        if client is None and not reported and not lost:
            continue  # it left before this run
        started, finished = reported.get("started"), reported.get("finished")
        rows.append(
            {
                "id": worker.id,
                "host": worker.host,
                "state": str(runner.state) if single_process else _state(worker.lost_at, client),
                "users": client.user_count if client is not None else None,
                "in_flight": None if lost or started is None or finished is None else started - finished,
                "rows": live.replies_of[worker.id] if live else reported.get("rows", 0),
                "receive_lag_max": lags.get(worker.id),
                "loop_lag_max": reported.get("loop_lag_max"),
                "cpu": (live.cpu.share(worker.id, now) if live else None) or _heartbeat_cpu(client),
                "clock_offset": worker.begun_at.seconds if worker.begun_at else None,
                "clock_error": max(worker.clock_error, worker.begun_at.error) if worker.begun_at else None,
            }
        )
    return rows if single_process else [*rows, _master(run)]


def _heartbeat_cpu(client: Any) -> float | None:
    """Return the CPU share from Locust's heartbeat, for a worker without finished replies; 0 means not reported yet."""
    percent: float = getattr(client, "cpu_usage", 0)
    return percent / 100 if percent else None


def _state(lost_at: float | None, client: Any) -> str:
    if lost_at is not None:
        return "lost"
    return "gone" if client is None else str(client.state)


def _master(run: RunFacts) -> dict[str, Any]:
    no_users = ("users", "in_flight", "rows", "receive_lag_max", "loop_lag_max", "clock_offset", "clock_error")
    cpu = run.live.cpu.share(MASTER, run.now()) if run.live else None
    return {"id": MASTER, "host": "", "state": run.environment.runner.state, "cpu": cpu, **dict.fromkeys(no_users)}
