"""What `run.json` says of a run: values in, plain types out."""

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
import locust

from probe_ext import __version__
from probe_ext.bundled import folder
from probe_ext.load.boundary_search import SearchSteps
from probe_ext.measure import clock
from probe_ext.run import manifest
from probe_ext.swarm.link.workers import Worker
from probe_ext.swarm.master.load_shape import LevelShape
from probe_ext.swarm.master.search_finding import search_finding
from probe_ext.verdict.values.worker_names import worker_name

if TYPE_CHECKING:
    from probe_ext.swarm.master.active_run import ActiveRun


def describe(run: "ActiveRun") -> dict[str, Any]:
    """The manifest as it stands now; keys as in ARCHITECTURE.md."""
    made = run.made
    taking_part = [_worker(run, peer) for peer in run.workers.known.values() if _took_part(run, peer)]
    return {
        "schema": manifest.SCHEMA,
        "run_id": run.id,
        "scenario": run.scenario,
        "locustfile": _locustfile(run.environment.parsed_options.locustfile or "-"),
        "started_at": clock.utc_text(run.started_unix),
        "started_unix": run.started_unix,
        "ended_at": None if run.ended is None else clock.utc_text(run.started_unix + run.ended),
        "duration": run.ended,
        "end_reason": run.end_reason,
        "versions": _versions(),
        "target": {
            "host": made.host,
            "model": made.model,
            "model_from": made.model_from,
            "tls_verified": not run.options.insecure if made.host.startswith("https") else None,
        },
        "options": run.options.as_json(),
        "profile": made.profile,
        "plan": _plan(run),
        "workers": taking_part,
        "server": made.server,
        "prompts": {key: value for key, value in made.prompts.items() if key != "length_model"},
        "warm_up": made.warm_up,
        "merged": [],
        "ruler": run.floor,
        "findings": _findings(run, taking_part),
    }


def _plan(run: "ActiveRun") -> dict[str, Any] | None:
    """The levels to come, or those that a search has gone to so far."""
    shape = run.environment.shape_class
    if run.options.plan is None or not isinstance(shape, LevelShape):
        return None
    return shape.steps.told()


def _locustfile(given: str) -> str:
    """A scenario of the package by its file's name; a user's own as it was given, below the folder that it ran in."""
    path = Path(given)
    if path.resolve().parent == folder("locustfiles").resolve():
        return path.name
    return f"./{given}" if path.name == given and given != "-" else given


def _versions() -> dict[str, str]:
    return {
        "probe_ext": __version__,
        "locust": locust.__version__,
        "gevent": gevent.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def _took_part(run: "ActiveRun", peer: Worker) -> bool:
    return peer.id in run.collector.told or peer.begun_at is not None


def _worker(run: "ActiveRun", peer: Worker) -> dict[str, Any]:
    told = run.collector.told.get(peer.id, {})
    stamped, begun, absences = told.get("stamped"), peer.begun_at, peer.absences.spans
    return {
        "id": peer.id,
        "host": peer.host,
        "version": peer.version,
        "clock_offset": begun.seconds if begun else None,
        "clock_error": max(peer.clock_error, begun.error) if begun else None,
        "clock_drift": 0.0 if peer.same_clock else peer.clock.rate(),
        "clock_line": [] if peer.same_clock else peer.clock.segments(run.origin),
        "started": told.get("started"),
        "rows": told.get("rows", 0),
        "last_word": peer.drained is not None and run.collector.has_all(peer.id, peer.drained),
        "lost_at": peer.lost_at,
        "left_at": peer.left_at,
        "away": absences,
        "cpu_seconds": told.get("cpu_seconds"),
        "loop_lag_max": told.get("loop_lag_max"),
        "receive_stamps": None if stamped is None else ("kernel" if stamped else "read"),
    }


def _findings(run: "ActiveRun", taking_part: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What only the live run can know."""
    found = [*run.poll_findings()]
    if run.made.problem:
        advice = "Look at the server's address, model and limits."
        found.append(_failed("target", run.made.problem, advice))
    found += [_disk(run, name, error) for name, error in run.disk_problems().items()]
    for worker, told in run.collector.told.items():
        if told.get("disk_error"):
            why = f"{worker_name({'workers': taking_part}, worker)}: {told['disk_error']}"
            found.append(_failed("worker_disk", why, "The master has the rows; make room for the next run."))
    shape = run.environment.shape_class
    if isinstance(shape, LevelShape):
        if run.ended is not None and isinstance(shape.steps, SearchSteps):
            found.append(search_finding(shape.steps))
        for level in shape.steps.never_reached:
            why = f"the level of {level} users was never reached"
            found.append(_failed("level_reached", why, "Look at Locust's log for users that could not be started."))
    return found


def _disk(run: "ActiveRun", name: str, error: str) -> dict[str, Any]:
    """A file that the disk refused: are lines of it lost, is it a table that is not whole, or was all written later?"""
    advice = "Make room, or give --out a folder that can be written."
    lost = run.collector.unwritten.get(name, 0)
    if lost:
        why = f"{lost} lines could not be written"
    elif name in run.collector.incomplete or name in run.tables.problems:
        why = "what it holds is not the whole run"
    else:
        why, advice = "it refused for a while; every line was written later", "Make room before the next run."
    return _failed("disk", f"{run.directory / name}: {error}; {why}", advice, invalidates=lost > 0)


def _failed(check: str, why: str, advice: str, *, invalidates: bool = False) -> dict[str, Any]:
    return {"check": check, "state": "fail", "invalidates": invalidates, "why": why, "advice": advice}
