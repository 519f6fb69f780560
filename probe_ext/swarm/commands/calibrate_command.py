"""Measure the load generator on this machine: measurement error, CPU per token and reply, and one worker's limits.

Runs real users through Locust against a local target that puts the true time into every token. Takes four to six
minutes; leave the machine otherwise idle. The result is kept in your cache directory: `probe run` warns if a plan needs
more than its workers can measure, and every report shows it.

example:
  probe calibrate
"""

import argparse
import csv
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from probe_ext.client.wire.native.native_extension import NATIVE
from probe_ext.exit_codes import ExitCode
from probe_ext.inspection.machine import calibration_store
from probe_ext.measure import clock
from probe_ext.run.directory import MANIFEST, REQUESTS

MAX_UNRESOLVED_READS = 0.01  # share of reads that may carry several tokens
MAX_OVERDUE_S = 0.001  # of 99 % of the reads of a worker that reads without delay
TOKEN_RATE = 50.0  # tokens/s of each stream in the search for the token limit
MAX_LATE_TOKENS = 0.01  # share of tokens that the target may send after the next one is due
TOKEN_STREAMS = (25, 50, 100, 200, 400, 800, 1600)
OPEN_STREAMS = (100, 250, 500, 1000, 2000, 4000, 8000, 16000, 20000)
LIMITS = ("tokens_per_second_on_time", "tokens_per_second", "open_streams_on_time", "open_streams")
"""a worker's limits: without delay, and while it keeps up at all"""
KEYS = (
    *("measured_at", "machine", "processor", "kernel", "python", "probe_ext", "locust", "gevent", "reading_path"),
    "receive_stamps",
    *("ttft_error_p50", "ttft_error_p99", "ttft_error_max", "gap_error_p50", "gap_error_p99", "gap_error_max"),
    *("cpu_per_token", "cpu_per_reply", "reads_unresolved", "lag_p99", "overdue_p99"),
    *LIMITS,
    calibration_store.OF_TARGET,
)
"""of a calibration, in order; in run.json under `calibration`"""
_SLOW_TOKEN_RATE = 2.0  # tokens/s of each stream in the search for the stream limit
_SPAWN_RATE = 1000  # users per second
_LOCUSTFILE = Path(__file__).with_name("calibration_users.py")
_NO_ERRORS: dict[str, list[float]] = {name: [] for name in ("ttft", "gaps", "late", "lag", "overdue")}


@dataclass(frozen=True)
class Trial:
    """One run against the target."""

    rows: list[dict[str, str]]
    cpu: float
    """CPU seconds of the worker"""
    seconds: float
    lag_p99: float | None
    overdue_p99: float | None
    """seconds, second half of each reply; from the target's timestamps if the kernel gives none"""
    errors: dict[str, list[float]]
    """microseconds, by `ttft` and `gaps`"""
    stamped: bool
    """whether receive times are the kernel's"""
    max_lag: float = 1 / TOKEN_RATE
    """seconds between two tokens of a stream: after such a lag, the next one has arrived"""
    target_fell_behind: bool = False
    """whether the load was less than asked for, through no fault of the worker"""
    most_open: int = 0
    """streams that the target had open at once: fewer than users where connecting takes too long"""

    def total(self, column: str) -> float:
        """Return the sum of a column."""
        return sum(float(row[column]) for row in self.rows if row[column])

    @property
    def keeps_up(self) -> bool:
        """Whether reads were in time, each token had its own read, and no reply failed."""
        succeeded = all(row["outcome"] in {"complete", "ended_by_us"} for row in self.rows)
        resolved = self.total("reads_unresolved") <= MAX_UNRESOLVED_READS * self.total("reads")
        return succeeded and resolved and self.lag_p99 is not None and self.lag_p99 <= self.max_lag

    @property
    def on_time(self) -> bool:
        """Whether reads were not delayed."""
        return self.overdue_p99 is not None and self.overdue_p99 <= MAX_OVERDUE_S


@dataclass(frozen=True)
class Limits:
    """The highest loads of one worker; 0 if even the lightest was too much."""

    on_time: float
    kept_up: float
    of_target: bool = False
    """whether the target fell behind at the next load, and nothing is known of the worker there"""


class TrialFailedError(Exception):
    """A trial did not complete; the message is the last line of its stderr."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `probe calibrate`."""
    parser.add_argument("--seconds", type=_seconds, default=6.0, help="seconds per trial, at least 1 [6]")
    parser.add_argument("--quick", action="store_true", help="measure error and CPU cost only, not a worker's limits")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a valid number of seconds (at least 1)")
    return seconds


def main(options: argparse.Namespace) -> int:
    """Measure, print and save. INVALID if that fails."""
    try:
        calibration = calibrate(options.seconds, quick=options.quick)
    except TrialFailedError as error:
        print(f"probe: calibration failed: {error}", file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.INVALID
    for line in summary(calibration):
        print(line)  # noqa: T201 - as above
    try:
        print(f"saved to {calibration_store.save(calibration)}")  # noqa: T201 - as above
    except OSError as error:
        print(f"probe: cannot save the result: {error}", file=sys.stderr)  # noqa: T201 - as above
        return ExitCode.INVALID
    return ExitCode.OK


def calibrate(seconds: float, *, quick: bool = False) -> dict[str, Any]:
    """Return the calibration; keys: docs/run-json.md. Limits are None if nothing is known of them."""
    _progress("CPU cost of a reply, with a target that answers at once")
    replies = trial(None, users=10, seconds=seconds, tokens=1)
    _progress("error and CPU cost of a token, 50 streams at 50 tokens/s")
    tokens = trial(TOKEN_RATE, users=50, seconds=seconds, tokens=100)
    cpu_per_reply = replies.cpu / max(1, len(replies.rows))
    cpu_per_token = (tokens.cpu - cpu_per_reply * len(tokens.rows)) / max(1.0, tokens.total("events"))
    calibration = {
        "measured_at": clock.utc_text(clock.wall()),
        **calibration_store.key(),
        "receive_stamps": "kernel" if tokens.stamped else "read",
        **_quantiles("ttft_error", tokens.errors["ttft"]),
        **_quantiles("gap_error", tokens.errors["gaps"]),
        "cpu_per_token": cpu_per_token,
        "cpu_per_reply": cpu_per_reply,
        "reads_unresolved": tokens.total("reads_unresolved") / max(1.0, tokens.total("reads")),
        "lag_p99": tokens.lag_p99,
        "overdue_p99": tokens.overdue_p99,
    }
    if quick:  # limits from an earlier calibration of this machine and these versions still hold
        return calibration | {
            key: (calibration_store.load() or {}).get(key) for key in (*LIMITS, calibration_store.OF_TARGET)
        }
    rate = find_limits(_token_loads(seconds), lambda done: done.total("events") / done.seconds)
    streams = find_limits(_stream_loads(seconds), lambda done: done.most_open)
    limits = {"tokens_per_second": rate, "open_streams": streams}
    for name, found in limits.items():
        known = found.kept_up or not found.of_target
        calibration |= {f"{name}_on_time": found.on_time if known else None, name: found.kept_up if known else None}
    of_target = [name for name, found in limits.items() if found.of_target]
    return calibration | {calibration_store.OF_TARGET: ", ".join(of_target) or None}


def find_limits(
    loads: Iterable[tuple[float, Callable[[], Trial]]], measured: Callable[[Trial], float] | None = None
) -> Limits:
    """Try increasing loads, each with its size, until the worker does not keep up, or the target.

    `measured` returns the size that a trial really had. A load that is too much is tried twice: other work on the
    machine must not pass for the worker's limit.
    """
    on_time = kept_up = 0.0
    without_delay = True
    for size, run_trial in loads:
        done = run_trial()
        if done.target_fell_behind or not (done.keeps_up and (done.on_time or not without_delay)):
            again = run_trial()
            done = max(done, again, key=lambda one: (not one.target_fell_behind, one.keeps_up, one.on_time))
        if done.target_fell_behind:
            _progress("the calibration's own server fell behind, not the worker")
            return Limits(on_time, kept_up, of_target=True)
        if not done.keeps_up:
            break
        kept_up = max(kept_up, measured(done) if measured else size)
        without_delay = without_delay and done.on_time
        on_time = kept_up if without_delay else on_time
    return Limits(on_time, kept_up)


def _token_loads(seconds: float) -> Iterator[tuple[float, Callable[[], Trial]]]:
    for streams in TOKEN_STREAMS:
        _progress(f"{streams} streams at {TOKEN_RATE:g} tokens/s")
        yield streams, partial(trial, rate=TOKEN_RATE, users=streams, seconds=seconds, tokens=100)


def _stream_loads(seconds: float) -> Iterator[tuple[float, Callable[[], Trial]]]:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    max_streams = math.inf if files == resource.RLIM_INFINITY else files - 500
    for streams in [n for n in OPEN_STREAMS if n < max_streams]:
        _progress(f"{streams} open streams at {_SLOW_TOKEN_RATE:g} tokens/s")
        length = seconds + 2 * streams / _SPAWN_RATE  # all streams are open during the second half of each reply
        tokens = max(2, int(length * _SLOW_TOKEN_RATE))
        yield streams, partial(trial, rate=_SLOW_TOKEN_RATE, users=streams, seconds=length, tokens=tokens)


def _progress(what: str) -> None:
    print(f"  … {what}", file=sys.stderr, flush=True)  # noqa: T201 - as above


def _quantiles(name: str, errors: Sequence[float]) -> dict[str, float | None]:
    """Return quantiles in seconds of errors in microseconds."""
    ranked = sorted(errors)
    quantiles = {q: _quantile(ranked, share) for q, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
    return {f"{name}_{q}": None if error is None else error / 1e6 for q, error in quantiles.items()}


def _quantile(ranked: Sequence[float], q: float) -> float | None:
    return ranked[min(len(ranked) - 1, int(q * len(ranked)))] if ranked else None


@contextmanager
def target(arguments: Sequence[str], totals: dict[str, Any] | None = None) -> Iterator[str]:
    """Run a paced target in a child process, and yield its URL; `totals` is filled with what it counted."""
    line = [sys.executable, "-m", "probe_ext.sim.calibration_server", *arguments]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module
    try:
        port = process.stdout.readline().strip() if process.stdout else ""
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate()
    if totals is not None:
        totals.update(json.loads(said or "{}"))


def trial(rate: float | None, *, users: int, seconds: float, tokens: int) -> Trial:
    """Run users through Locust, with a master and one worker, against a target. TrialFailedError if it fails.

    `rate`: tokens/s of each stream; None: a whole reply at once.
    """
    arguments, totals = ["--null"] if rate is None else ["--rate", f"{rate:g}"], dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder) / "run", Path(folder) / "errors.json"
        environment = {**os.environ, "PROBE_CALIBRATION": str(errors)}
        environment.pop("PROBE_API_KEY", None)
        with target(arguments, totals) as url:
            code, stderr = _run(_command(url, users, seconds, tokens, out), environment)
        if not (out / MANIFEST).exists() or code != 0:
            raise TrialFailedError(stderr.strip().rpartition("\n")[2] or f"exit code {code}")
        done = _read(out, json.loads(errors.read_text()) if errors.exists() else _NO_ERRORS)
    behind = totals.get("late", 0) > MAX_LATE_TOKENS * totals.get("tokens", 0)
    open_at_once = totals.get("most_open", 0)
    return done if rate is None else replace(done, max_lag=1 / rate, target_fell_behind=behind, most_open=open_at_once)


def _run(line: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Return the exit code and stderr. If the calibration is interrupted, the load is stopped."""
    with subprocess.Popen(  # noqa: S603 - our own command
        line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, stderr = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)  # the second signal aborts replies in flight
            raise
    return process.returncode, stderr


def _command(url: str, users: int, seconds: float, tokens: int, out: Path) -> list[str]:
    load = ["-u", str(users), "-r", str(min(users, _SPAWN_RATE)), "-t", f"{math.ceil(seconds)}s", "--processes", "1"]
    size = ["--max-tokens", str(tokens), "--input-tokens", "32", "--prompt-seed", "1", "--warm-up", "off"]
    quiet = ["--no-report", "--no-metrics", "--drain", "5s", "--out", str(out)]
    return [sys.executable, "-m", "probe_ext", "run", str(_LOCUSTFILE), "--host", url, *load, *size, *quiet]


def _read(out: Path, errors: dict[str, list[float]]) -> Trial:
    manifest = json.loads((out / MANIFEST).read_text())
    with (out / REQUESTS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    workers = manifest["workers"]
    cpu = sum(worker["cpu_seconds"] or 0.0 for worker in workers)
    stamped = bool(workers) and all(worker["receive_stamps"] == "kernel" for worker in workers)
    lag, overdue = (_quantile(sorted(errors[name if stamped else "late"]), 0.99) for name in ("lag", "overdue"))
    return Trial(
        rows, cpu, manifest["duration"], lag, overdue, {name: errors[name] for name in ("ttft", "gaps")}, stamped
    )


def summary(calibration: dict[str, Any]) -> list[str]:
    """Return lines for a terminal."""
    kernel = calibration["receive_stamps"] == "kernel"
    lines = [
        f"sockets read by: {'the C extension' if calibration['reading_path'] == NATIVE else 'Python'} (without TLS)",
        f"receive times: {'from the kernel' if kernel else 'from our own reads'}",
    ]
    for what, name in (("TTFT", "ttft_error"), ("inter-token gap", "gap_error")):
        p50, p99, largest = (_short(calibration[f"{name}_{q}"]) for q in ("p50", "p99", "max"))
        lines.append(f"{what} error: p50 {p50}, p99 {p99}, max {largest}")
    lines.append(
        f"CPU: {_short(calibration['cpu_per_token'])} per token, {_short(calibration['cpu_per_reply'])} per reply"
    )
    lines.append(f"reads with several tokens: {calibration['reads_unresolved']:.2%}")
    for key, what in (("tokens_per_second", "tokens/s"), ("open_streams", "open streams")):
        of_target = calibration_store.is_of_target(calibration, key)
        lines += _limits(what, calibration[key], calibration[f"{key}_on_time"], of_target=of_target)
    return lines


def _limits(what: str, kept_up: float | None, on_time: float | None, *, of_target: bool = False) -> list[str]:
    if kept_up is None:
        return []
    if not kept_up:
        return [f"one worker does not keep up with even the smallest load tried ({what})"]
    at_least = "at least " if of_target else ""
    line = f"one worker keeps up with {at_least}{kept_up:,.0f} {what}"
    if of_target:
        line += " (at more, the calibration's own server fell behind)"
    if on_time is None:
        return [line]
    return [f"{line}, without delay up to {on_time:,.0f}" if on_time else f"{line}, always with delay"]


def _short(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{1e6 * seconds:.1f} µs" if seconds < 0.001 else f"{1e3 * seconds:.2f} ms"
