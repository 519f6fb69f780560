"""The live page's data as one JSON object, without secrets. Keys: docs/live-json.md."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from probe_ext.live import status_text
from probe_ext.live.live_run import LiveRun, Now
from probe_ext.measure.rate import Rate, as_json
from probe_ext.settings.slo import SloProfile
from probe_ext.swarm.master.run_view import RunView
from probe_ext.verdict.values.answer import Answer

SCHEMA = 2
_WINDOW_KEYS = {"replies": "window_replies", "failed": "window_failed", "users": "window_users"}
"""of the window, where `now` has the same of the run"""
Span = Literal["recent", "whole"]
State = Literal["idle", "preparing", "running", "ending", "ended"]


@dataclass
class PastRun:
    """A run since this process started. Files of other runs are never served."""

    number: int
    directory: Path
    scenario: str
    started_at: str
    state: State = "running"
    report: Literal["none", "making", "ready", "failed"] = "none"
    sentence: str | None = None
    """the report's headline"""
    verdict: str | None = None
    answer: Answer | None = None
    """the headline in parts"""
    any_served: bool = False
    """whether a number of users, or a rate, is proven to be served"""

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        known = {**asdict(self), "directory": str(self.directory)}
        return {key: value for key, value in known.items() if key not in {"answer", "any_served"}}


def state(state: State, detail: str | None, run: RunView | None, past: Sequence[PastRun], span: Span) -> dict[str, Any]:
    """Return all that the page shows; `detail` says what is being prepared, or why the last run did not start."""
    live = run.live if run is not None else None
    now = live.now if live else None
    shown: dict[str, Any] = {
        "schema": SCHEMA,
        "state": state,
        "doing": detail,
        "said": _headline(state, detail, run, past),
        "run": _run(run, past),
        "now": _now(now),
        "so_far": _so_far(live),
        "levels": [level.to_json() for level in live.levels.all] if live else [],
        "streaming": [asdict(line) for line in live.streaming()] if live else [],
        "workers": run.workers if run is not None else [],
        "bounds": _bounds(live.rules.profiles.used) if live else {},
        "history": _history(live, span),
        "runs": [run.to_json() for run in reversed(past)],
    }
    plain: dict[str, Any] = as_json(shown) if run is not None and run.load == "rate" else shown
    return plain


def _headline(state: State, detail: str | None, run: RunView | None, past: Sequence[PastRun]) -> dict[str, str]:
    """Return the headline in two parts, and the text below it."""
    if state == "preparing":
        return _heading(status_text.Headline("", "Preparing the run."), detail or "")
    if detail and not past:
        return _heading(status_text.Headline("", "The run did not start."), detail)
    if run is None or run.live is None:
        return _heading(status_text.Headline("", "No run yet."), "Start one in Locust's web UI.")
    if state == "ended":
        return _ended(past[-1], detail)
    now = run.live.now
    below = status_text.progress(now, run.position)
    if state == "ending":
        below = "The run is ending; replies in flight may still finish."
    return _heading(status_text.headline(now, run.live.levels.estimate), below)


def _ended(last: PastRun, refusal: str | None) -> dict[str, str]:
    """Return the report's headline once there is one, or why the next run did not start."""
    if refusal:
        return _heading(status_text.Headline("", "The next run did not start."), refusal)
    if last.answer is not None:
        return _heading(*status_text.answered(last.answer, any_served=last.any_served))
    report = {"making": "Making the report …", "failed": "The report could not be made."}
    return _heading(status_text.Headline("", "The run is over."), report.get(last.report, ""))


def _heading(headline: status_text.Headline, below: str) -> dict[str, str]:
    return {"number": headline.number, "headline": headline.rest, "tone": headline.tone, "below": below}


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
        "load": run.load,
        "levels": list(run.levels) if run.levels else None,
        "search": run.search,
        "position": run.position,
        "end_reason": run.end_reason,
        "metrics": run.metrics,
        "problems": run.problems,
        "generator": run.live.generator.trouble if run.live else "",
    }


def _so_far(live: LiveRun | None) -> dict[str, Any] | None:
    """Return what the replies so far say of the capacity."""
    known = live.levels.estimate if live else None
    if known is None:
        return None
    return {
        "served_users": known.served_users,
        "estimate": None if isinstance(known.served_users, Rate) else known.estimate,
        "interval": known.interval,
        "bracket": known.bracket,
        "widened": live.levels.widening.sentence if live and live.levels.widening else "",
    }


def _now(now: Now | None) -> dict[str, Any] | None:
    """Return the current figures in one object; the level is in `levels`."""
    if now is None:
        return None
    figures = asdict(now)
    window = {_WINDOW_KEYS.get(key, key): value for key, value in figures.pop("window").items()}
    level = figures.pop("level")
    del figures["position"], figures["widening"]  # of the run, of what is known so far
    return {**figures, **window, "measured_since": level["t_start"] if level else None}


def _bounds(profiles: Sequence[SloProfile]) -> dict[str, float | None]:
    """Return the bounds between served and strained, and between strained and broken, where all profiles agree."""
    bounds: dict[str, float | None] = {}
    for dimension in ("first_word", "typing", "silence"):
        known = {(one.served, one.strained) for profile in profiles if (one := getattr(profile, dimension)) is not None}
        served, strained = next(iter(known)) if len(known) == 1 else (None, None)
        bounds[f"{dimension}_served"], bounds[f"{dimension}_strained"] = served, strained
    return {**bounds, "served_share": max(profile.users.served_share for profile in profiles)}


def _history(live: LiveRun | None, span: Span) -> dict[str, Any]:
    if live is None:
        return {"step": 1.0, "t": []}
    return live.history.recent() if span == "recent" else live.history.whole()
