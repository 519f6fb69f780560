"""Build `run.json` from what is known of a run."""

import os
import platform
from pathlib import Path
from typing import Any

import gevent
import locust

from probe_ext import __version__
from probe_ext.bundled import folder
from probe_ext.load.boundary_search import SearchSteps
from probe_ext.measure import clock
from probe_ext.measure.findings import recorded_finding
from probe_ext.run import manifest
from probe_ext.settings.options import Options
from probe_ext.swarm.link.workers import Worker
from probe_ext.swarm.master.run_facts import RunFacts
from probe_ext.swarm.master.search_finding import search_finding
from probe_ext.swarm.preparation.target_probe import Preparation, recorded_workload
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.phrasing.worker_names import worker_name


def describe(run: RunFacts) -> dict[str, Any]:
    """Return the manifest as of now; keys: docs/run-json.md."""
    preparation = run.preparation
    workers = participants(run)
    by_host = {
        one.kind: {
            **_of_server(run.options, one.preparation),
            "findings": _findings(run, workers, one.preparation, run.pollers[one.kind].findings()),
        }
        for one in preparation.by_host
    }
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
        **_of_server(run.options, preparation),
        "plan": _plan(run),
        "arrivals": run.stream.as_json() if run.stream else None,
        "workers": workers,
        "merged": [],
        "calibration": run.calibration,
        "findings": _findings(run, workers, preparation, run.poll_findings()),
        "by_host": by_host or None,
    }


def described_so_far(run: RunFacts, now: float) -> dict[str, Any]:
    """Return what the manifest would say of the load generator now: its workers, and whose machine they share."""
    return {"target": {"host": run.preparation.host}, "workers": participants(run), "duration": now}


def _of_server(options: Options, preparation: Preparation) -> dict[str, Any]:
    """Return what is known of a server, and of the requests to it."""
    return {
        "target": {
            "host": preparation.host,
            "model": preparation.model,
            "model_from": preparation.model_from,
            "tls_verified": not options.insecure if preparation.host.startswith("https") else None,
        },
        "options": options.as_json(),
        "profile": preparation.profile,
        "workload": recorded_workload(preparation),
        "server": preparation.server,
        "prompts": {key: value for key, value in preparation.prompts.items() if key != "length_model"},
        "request_form": preparation.negotiation.as_dict() if preparation.negotiation else None,
        "warm_up": preparation.warm_up,
    }


def _plan(run: RunFacts) -> dict[str, Any] | None:
    """Return the planned levels, or those that a search has visited so far."""
    return run.steps.as_json() if run.steps else None


def _locustfile(given: str) -> str:
    """Return a bundled scenario's file name, or the path of a user's own file as given."""
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
        "platform": _platform(),
    }


def _platform() -> str:
    """Return what `platform.platform()` does, without starting `uname` as it does.

    A fork during a run is not harmless: libraries that register callbacks for it, such as OpenTelemetry's, let gevent
    switch in the child, which then writes the run's files a second time.
    """
    system, libc = os.uname(), "".join(platform.libc_ver())
    return f"{system.sysname}-{system.release}-{system.machine}" + (f"-with-{libc}" if libc else "")


def participants(run: RunFacts) -> list[dict[str, Any]]:
    """Return the workers that took part, as they stand now."""
    return [_worker(run, worker) for worker in run.workers.known.values() if _took_part(run, worker)]


def _took_part(run: RunFacts, worker: Worker) -> bool:
    return worker.id in run.collector.reported or worker.begun_at is not None


def _worker(run: RunFacts, worker: Worker) -> dict[str, Any]:
    reported, begun_at = run.collector.reported.get(worker.id, {}), worker.begun_at
    stamped = reported.get("stamped")
    return {
        "id": worker.id,
        "host": worker.host,
        "version": worker.version,
        "clock_offset": begun_at.seconds if begun_at else None,
        "clock_error": max(worker.clock_error, begun_at.error) if begun_at else None,
        "clock_drift": 0.0 if worker.same_clock else worker.clock.rate(),
        "clock_line": [] if worker.same_clock else worker.clock.segments(run.origin),
        "started": reported.get("started"),
        "started_by_kind": reported.get("started_by_kind") or None,
        "rows": reported.get("rows", 0),
        "last_word": worker.last_batch is not None and run.collector.has_all(worker.id, worker.last_batch),
        "lost_at": worker.lost_at,
        "left_at": worker.left_at,
        "away": worker.absences.spans,
        "cpu_seconds": reported.get("cpu_seconds"),
        "loop_lag_max": reported.get("loop_lag_max"),
        "receive_stamps": None if stamped is None else ("kernel" if stamped else "read"),
        "reading_path": reported.get("reading_path"),
    }


def _findings(
    run: RunFacts, participants: list[dict[str, Any]], preparation: Preparation, of_polls: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return findings that only the live run can make."""
    findings = [*preparation.findings, *of_polls]
    if preparation.problem:
        advice = "Check the server's address, model and limits."
        findings.append(recorded_finding("target", preparation.problem, advice))
    findings += [
        _disk(run, name, error) for name, error in {**run.tables.problems, **run.collector.disk_errors}.items()
    ]
    for worker_id, reported in run.collector.reported.items():
        if reported.get("disk_error"):
            why = f"{worker_name({'workers': participants}, worker_id)}: {reported['disk_error']}"
            findings.append(
                recorded_finding("worker_disk", why, "The master has the rows; free disk space before the next run.")
            )
    if dropped := run.workers.dropped:
        why = f"{things(dropped.total(), 'message')} to the master could not be used: " + ", ".join(sorted(dropped))
        findings.append(
            recorded_finding("messages", f"{why}.", "Set PROBE_SWARM_TOKEN, or keep others off the master's port.")
        )
    if run.ended is not None and isinstance(run.steps, SearchSteps):
        findings.append(search_finding(run.steps))
    for level in run.steps.never_reached if run.steps else ():
        why = f"the level of {things(level, 'user')} was never reached"
        findings.append(
            recorded_finding("level_reached", why, "Check Locust's log for users that could not be started.")
        )
    return findings


def _disk(run: RunFacts, name: str, error: str) -> dict[str, Any]:
    """Return the finding for a file with a disk error: lines lost, a table incomplete, or all written later."""
    advice = "Free disk space, or set --out to a writable directory."
    lost = run.collector.unwritten.get(name, 0)
    if lost:
        why = f"{things(lost, 'line')} could not be written"
    elif name in run.collector.incomplete or name in run.tables.problems:
        why = "the file is incomplete"
    else:
        why, advice = "temporary; every line was written later", "Free disk space before the next run."
    return recorded_finding("disk", f"{run.directory / name}: {error}; {why}", advice, invalidates=lost > 0)
