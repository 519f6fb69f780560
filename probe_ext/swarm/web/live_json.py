"""What the live page is told, as one JSON object: plain values, without secrets. Keys: docs/live-view.md."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from probe_ext.live import status_text
from probe_ext.live.live_levels import Rules
from probe_ext.live.live_run import LiveRun, Now
from probe_ext.measure import clock
from probe_ext.settings.options import Options
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.levels.find_levels import SETTLE, SHORTEST

if TYPE_CHECKING:
    from probe_ext.swarm.master.active_run import ActiveRun

SCHEMA = 1
Span = Literal["recent", "whole"]
State = Literal["idle", "preparing", "running", "ending", "ended"]


@dataclass
class PastRun:
    """A run since the UI was started. Only such a run's files are ever served."""

    number: int
    directory: Path
    scenario: str
    started_at: str
    state: State = "running"
    report: Literal["none", "making", "ready", "failed"] = "none"
    sentence: str | None = None
    """the report's answer"""
    verdict: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {**asdict(self), "directory": str(self.directory)}


def rules_of(options: Options, profile: dict[str, Any]) -> Rules:
    """What makes a level of this run, as the report will see it."""
    plan, slo = options.plan, SloProfile.model_validate(profile)
    if plan is None:
        return Rules(slo, SETTLE, SHORTEST, slo.level.min_replies)
    return Rules(
        slo, plan.settle, min(SHORTEST, plan.hold / 2), plan.min_replies, options.levels and frozenset(options.levels)
    )


def state(
    state: State, doing: str | None, run: "ActiveRun | None", past: Sequence[PastRun], span: Span
) -> dict[str, Any]:
    """Everything that the page shows."""
    live = run.live if run is not None else None
    now = live.now if live else None
    return {
        "schema": SCHEMA,
        "state": state,
        "doing": doing,
        "said": _said(state, doing, live, past),
        "run": _run(run, past),
        "now": _now(now),
        "levels": [level.to_json() for level in live.levels.all_now()] if live else [],
        "streaming": [asdict(line) for line in live.streaming()] if live else [],
        "workers": workers(run) if run is not None else [],
        "bounds": _bounds(live.rules.profile) if live else {},
        "history": _history(live, span),
        "runs": [one.to_json() for one in reversed(past)],
    }


def _said(state: State, doing: str | None, live: LiveRun | None, past: Sequence[PastRun]) -> dict[str, str]:
    """The headline, in two parts, and what stands below it."""
    if state == "preparing":
        return _heading(status_text.Headline("", "Getting ready."), doing or "")
    if live is None:
        return _heading(status_text.Headline("", "No run yet."), doing or "Start one in Locust's web UI.")
    if state == "ended":
        return _over(past[-1], doing)
    below = status_text.progress(live.now, live.rules)
    if state == "ending":
        below = "The run is ending: replies in flight may still finish."
    return _heading(status_text.headline(live.now, live.rules), below)


def _over(last: PastRun, refused: str | None) -> dict[str, str]:
    """A run that has ended: its report's answer, once there is one; or why no other began after it."""
    if refused:
        return _heading(status_text.Headline("", "The next run did not begin."), refused)
    if last.sentence is not None:
        return _heading(*status_text.answered(last.sentence))
    report = {"making": "Its report is being made.", "failed": "Its report could not be made."}
    return _heading(status_text.Headline("", "The run is over."), report.get(last.report, ""))


def _heading(head: status_text.Headline, below: str) -> dict[str, str]:
    return {"number": head.number, "headline": head.rest, "tone": head.tone, "below": below}


def _run(run: "ActiveRun | None", past: Sequence[PastRun]) -> dict[str, Any] | None:
    if run is None or not past:
        return None
    return {
        "number": past[-1].number,
        "id": run.id,
        "scenario": run.scenario,
        "host": run.made.host,
        "model": run.made.model,
        "profile": run.made.profile["name"],
        "started_at": clock.utc_text(run.started_unix),
        "directory": str(run.directory),
        "levels": list(run.options.levels) if run.options.levels else None,
        "search": run.options.search,
        "end_reason": run.end_reason,
        "metrics": bool(run.made.metrics_urls) and not run.options.no_metrics,
        "problems": sorted({finding["why"] for finding in run.poll_findings()}),
    }


def _now(now: Now | None) -> dict[str, Any] | None:
    """The window's figures beside the others; the level stands in `levels`."""
    if now is None:
        return None
    told = asdict(now)
    window = {f"window_{key}" if key in {"replies", "failed"} else key: v for key, v in told.pop("window").items()}
    level = told.pop("level")
    return {**told, **window, "measured_since": level["t_start"] if level else None}


def _bounds(profile: SloProfile) -> dict[str, float | None]:
    """Up to where people are served, and from where on they are no longer strained but broken."""
    told: dict[str, float | None] = {}
    for dimension in ("first_word", "typing", "silence"):
        bound = getattr(profile, dimension)
        told[f"{dimension}_served"] = bound.served if bound else None
        told[f"{dimension}_strained"] = bound.strained if bound else None
    return {**told, "level_served_share": profile.level.served_share}


def _history(live: LiveRun | None, span: Span) -> dict[str, Any]:
    if live is None:
        return {"step": 1.0, "t": []}
    return live.history.recent() if span == "recent" else live.history.whole()


def workers(run: "ActiveRun") -> list[dict[str, Any]]:
    """How each process of the swarm is, the master too."""
    runner = run.environment.runner
    lone, clients = not hasattr(runner, "clients"), getattr(runner, "clients", {})
    now, live = run.now(), run.live
    lags = live.lags() if live else {}
    told = []
    for peer in run.workers.known.values():
        said, client, lost = run.collector.told.get(peer.id, {}), clients.get(peer.id), peer.lost_at is not None
        if client is None and not said and not lost:
            continue  # it went before this run
        started, finished = said.get("started"), said.get("finished")
        told.append(
            {
                "id": peer.id,
                "host": peer.host,
                "state": str(runner.state) if lone else _state(peer.lost_at, client),
                "users": client.user_count if client is not None else None,
                "in_flight": None if lost or started is None or finished is None else started - finished,
                "rows": said.get("rows", 0),
                "receive_lag_max": lags.get(peer.id),
                "loop_lag_max": said.get("loop_lag_max"),
                "cpu": (live.cpu.share(peer.id, now) if live else None) or _locusts_cpu(client),
                "clock_offset": peer.begun_at.seconds if peer.begun_at else None,
                "clock_error": max(peer.clock_error, peer.begun_at.error) if peer.begun_at else None,
            }
        )
    return told if lone else [*told, _master(run)]


def _locusts_cpu(client: Any) -> float | None:
    """What Locust's heartbeat last told of a worker whose replies tell nothing, since none ends; 0 is not told yet."""
    told: float = getattr(client, "cpu_usage", 0)
    return told / 100 if told else None


def _state(lost_at: float | None, client: Any) -> str:
    if lost_at is not None:
        return "lost"
    return "gone" if client is None else str(client.state)


MASTER = "master"


def _master(run: "ActiveRun") -> dict[str, Any]:
    """A master has no users of its own."""
    empty = ("users", "in_flight", "rows", "receive_lag_max", "loop_lag_max", "clock_offset", "clock_error")
    cpu = run.live.cpu.share(MASTER, run.now()) if run.live else None
    return {"id": MASTER, "host": "", "state": run.environment.runner.state, "cpu": cpu, **dict.fromkeys(empty)}
