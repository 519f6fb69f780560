"""What the live page is told, as one JSON object: plain values, without secrets. Keys: docs/live-view.md."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from probe_ext.live import status_text
from probe_ext.live.live_run import LiveRun, Now
from probe_ext.settings.slo import SloProfile
from probe_ext.swarm.master.run_view import RunView

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


def state(state: State, doing: str | None, run: RunView | None, past: Sequence[PastRun], span: Span) -> dict[str, Any]:
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
        "workers": run.workers if run is not None else [],
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


def _run(run: RunView | None, past: Sequence[PastRun]) -> dict[str, Any] | None:
    if run is None or not past:
        return None
    return {
        "number": past[-1].number,
        "id": run.id,
        "scenario": run.scenario,
        "host": run.host,
        "model": run.model,
        "profile": run.profile,
        "started_at": run.started_at,
        "directory": str(run.directory),
        "levels": list(run.levels) if run.levels else None,
        "search": run.search,
        "end_reason": run.end_reason,
        "metrics": run.metrics,
        "problems": run.problems,
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
