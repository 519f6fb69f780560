"""Measure the ruler itself on this machine: its error, what a token and a reply cost it, and how much one worker bears.

Runs real users through Locust against a target of its own on loopback, whose every token carries its true time. Four to
six minutes; give the machine nothing else to do. The result is kept in the user's cache: `probe run` warns when a plan
wants more than its workers bear, and every run's page shows it.

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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from probe_ext.exit_codes import ExitCode
from probe_ext.measure import clock
from probe_ext.swarm.master import calibration_store

SHARED = 0.01
"""share of the reads that may carry several tokens"""
ON_TIME = 0.001
"""seconds: a worker reads without delay while 99 % of its reads are overdue by no more"""
SPEED = 50.0
"""tokens a second of each stream, where the most tokens a second are looked for"""
LAG = 1 / SPEED
"""seconds: a worker of whose reads 1 % come later does not keep up; at SPEED the next token is there by then"""
STREAMS = (25, 50, 100, 200, 400, 800, 1600)
OPEN = (100, 250, 500, 1000, 2000, 4000, 8000, 16000)
LIMITS = ("tokens_per_second_on_time", "tokens_per_second", "open_streams_on_time", "open_streams")
"""what a worker bears: on time, and while it keeps up at all"""
KEYS = (
    *("measured_at", "machine", "processor", "kernel", "python", "probe_ext", "locust", "gevent", "receive_stamps"),
    *("ttft_error_p50", "ttft_error_p99", "ttft_error_max", "gap_error_p50", "gap_error_p99", "gap_error_max"),
    *("cpu_per_token", "cpu_per_reply", "reads_unresolved", "lag_p99", "overdue_p99"),
    *LIMITS,
)
"""of a calibration, in order; `ruler` in `run.json`"""
_SLOW = 2.0
"""tokens a second of each stream, where the most open streams are looked for"""
_COME = 1000
"""users that come in a second"""
_USERS = Path(__file__).with_name("calibration_users.py")
_NOTHING: dict[str, list[float]] = {name: [] for name in ("ttft", "gaps", "late", "lag", "overdue")}


@dataclass(frozen=True)
class Trial:
    """One run against the target."""

    rows: list[dict[str, str]]
    cpu: float
    """seconds of the worker"""
    seconds: float
    lag_p99: float | None
    overdue_p99: float | None
    """seconds, of the second half of each reply; both by the target's word, where the kernel gives no times"""
    errors: dict[str, list[float]]
    """microseconds, by `ttft` and `gaps`"""
    stamped: bool

    def total(self, column: str) -> float:
        """A column of the rows added up."""
        return sum(float(row[column]) for row in self.rows if row[column])

    @property
    def keeps_up(self) -> bool:
        """Whether reads came in time, tokens had reads of their own, and no reply failed."""
        fine = all(row["outcome"] in {"complete", "ended_by_us"} for row in self.rows)
        resolved = self.total("reads_unresolved") <= SHARED * self.total("reads")
        return fine and resolved and self.lag_p99 is not None and self.lag_p99 <= LAG

    @property
    def on_time(self) -> bool:
        """Whether reads came as soon as they were meant to."""
        return self.overdue_p99 is not None and self.overdue_p99 <= ON_TIME


@dataclass(frozen=True)
class Most:
    """What one worker bears; 0 where not even the lightest trial was borne."""

    on_time: float
    kept_up: float


class TrialFailedError(Exception):
    """The run that was to be measured did not come to its end; the message is what it said."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--seconds", type=_seconds, default=6.0, help="length of each trial, 1 or more [6]")
    parser.add_argument(
        "--quick", action="store_true", help="only the error and the costs, not how much a worker bears"
    )


def _seconds(said: str) -> float:
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{said}: a trial takes 1 second or more")
    return seconds


def main(options: argparse.Namespace) -> int:
    """Measure, keep, print. 3 when it cannot be measured."""
    try:
        found = calibrate(options.seconds, quick=options.quick)
    except TrialFailedError as error:
        print(f"probe: no calibration: {error}", file=sys.stderr)  # noqa: T201 - a command speaks to its user
        return ExitCode.INVALID
    for line in said(found):
        print(line)  # noqa: T201 - as above
    try:
        print(f"kept in {calibration_store.save(found)}")  # noqa: T201 - as above
    except OSError as error:
        print(f"probe: the result could not be kept: {error}", file=sys.stderr)  # noqa: T201 - as above
        return ExitCode.INVALID
    return ExitCode.OK


def calibrate(seconds: float, *, quick: bool = False) -> dict[str, Any]:
    """All that is found out; keys as in docs/run-directory.md. Missing where it was not looked for."""
    _tell("cost of a reply, against a target that answers at once")
    replies = trial(["--null"], users=10, seconds=seconds, tokens=1)
    _tell("error and cost of a token, 50 streams of 50 tokens/s")
    tokens = trial(["--rate", f"{SPEED:g}"], users=50, seconds=seconds, tokens=100)
    a_reply = replies.cpu / max(1, len(replies.rows))
    a_token = (tokens.cpu - a_reply * len(tokens.rows)) / max(1.0, tokens.total("events"))
    found = {
        "measured_at": clock.utc_text(clock.wall()),
        **calibration_store.key(),
        "receive_stamps": "kernel" if tokens.stamped else "read",
        **_quantiles("ttft_error", tokens.errors["ttft"]),
        **_quantiles("gap_error", tokens.errors["gaps"]),
        "cpu_per_token": a_token,
        "cpu_per_reply": a_reply,
        "reads_unresolved": tokens.total("reads_unresolved") / max(1.0, tokens.total("reads")),
        "lag_p99": tokens.lag_p99,
        "overdue_p99": tokens.overdue_p99,
    }
    if quick:  # what an earlier one found of this machine and these versions holds on
        return found | {key: (calibration_store.load() or {}).get(key) for key in LIMITS}
    speed = most(_of_more_tokens(seconds), lambda one: one.total("events") / one.seconds)
    streams = most(_of_more_streams(seconds))
    limits = (speed.on_time, speed.kept_up, streams.on_time, streams.kept_up)
    return found | dict(zip(LIMITS, limits, strict=True))


def most(loads: Iterable[tuple[float, Callable[[], Trial]]], measured: Callable[[Trial], float] | None = None) -> Most:
    """Of loads that ask for more and more, each with how much it is, or with what to tell that by.

    One that is too much is tried again: a moment's trouble of the machine is no limit of the worker. The next that is
    too much to keep up with is the last.
    """
    on_time = kept_up = 0.0
    punctual = True
    for asked, tried in loads:
        one = tried()
        if not (one.keeps_up and (one.on_time or not punctual)):
            one = max(one, tried(), key=lambda trial: (trial.keeps_up, trial.on_time))
        if not one.keeps_up:
            break
        kept_up = max(kept_up, measured(one) if measured else asked)
        punctual = punctual and one.on_time
        on_time = kept_up if punctual else on_time
    return Most(on_time, kept_up)


def _of_more_tokens(seconds: float) -> Iterator[tuple[float, Callable[[], Trial]]]:
    """By streams."""
    for streams in STREAMS:
        _tell(f"{streams} streams of {SPEED:g} tokens/s")
        yield streams, partial(trial, ["--rate", f"{SPEED:g}"], users=streams, seconds=seconds, tokens=100)


def _of_more_streams(seconds: float) -> Iterator[tuple[float, Callable[[], Trial]]]:
    """As far as this process may open files."""
    room = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 500
    for streams in [n for n in OPEN if n < room]:
        _tell(f"{streams} open streams of {_SLOW:g} tokens/s")
        length = seconds + 2 * streams / _COME  # so that the second half of each reply comes when all are there
        tokens = max(2, int(length * _SLOW))
        yield streams, partial(trial, ["--rate", f"{_SLOW:g}"], users=streams, seconds=length, tokens=tokens)


def _tell(what: str) -> None:
    print(f"  … {what}", file=sys.stderr, flush=True)  # noqa: T201 - as above


def _quantiles(name: str, errors: Sequence[float]) -> dict[str, float | None]:
    """In seconds, of microseconds."""
    ranked = sorted(errors)
    found = {place: _at(ranked, q) for place, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}
    return {f"{name}_{place}": None if error is None else error / 1e6 for place, error in found.items()}


def _at(ranked: Sequence[float], q: float) -> float | None:
    return ranked[min(len(ranked) - 1, int(q * len(ranked)))] if ranked else None


@contextmanager
def target(arguments: Sequence[str]) -> Iterator[str]:
    """A paced target in a process of its own; its URL."""
    line = [sys.executable, "-m", "probe_ext.sim.calibration_server", *arguments]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module
    try:
        port = process.stdout.readline().strip() if process.stdout else ""
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def trial(arguments: Sequence[str], *, users: int, seconds: float, tokens: int) -> Trial:
    """Real users through Locust, a master and one worker, against a target. TrialFailedError where it does not end."""
    with tempfile.TemporaryDirectory() as folder, target(arguments) as url:
        out, book = Path(folder) / "run", Path(folder) / "book.json"
        environment = {**os.environ, "PROBE_CALIBRATION": str(book)}
        environment.pop("PROBE_API_KEY", None)
        code, said = _run(_line(url, users, seconds, tokens, out), environment)
        if not (out / "run.json").exists() or code != 0:
            raise TrialFailedError(said.strip().rpartition("\n")[2] or f"exit code {code}")
        return _read(out, json.loads(book.read_text()) if book.exists() else _NOTHING)


def _run(line: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and what it said on stderr. An interrupted calibration leaves no load behind."""
    with subprocess.Popen(  # noqa: S603 - our own command
        line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, said = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)  # the second cuts off the replies in flight
            raise
    return process.returncode, said


def _line(url: str, users: int, seconds: float, tokens: int, out: Path) -> list[str]:
    load = ["-u", str(users), "-r", str(min(users, _COME)), "-t", f"{math.ceil(seconds)}s", "--processes", "1"]
    size = ["--max-tokens", str(tokens), "--input-tokens", "32", "--prompt-seed", "1", "--warm-up", "off"]
    quiet = ["--no-report", "--no-metrics", "--drain", "5s", "--out", str(out)]
    return [sys.executable, "-m", "probe_ext", "run", str(_USERS), "--host", url, *load, *size, *quiet]


def _read(out: Path, book: dict[str, list[float]]) -> Trial:
    manifest = json.loads((out / "run.json").read_text())
    with (out / "requests.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    workers = manifest["workers"]
    cpu = sum(worker["cpu_seconds"] or 0.0 for worker in workers)
    stamped = bool(workers) and all(worker["receive_stamps"] == "kernel" for worker in workers)
    lag, overdue = (_at(sorted(book[name if stamped else "late"]), 0.99) for name in ("lag", "overdue"))
    return Trial(
        rows, cpu, manifest["duration"], lag, overdue, {name: book[name] for name in ("ttft", "gaps")}, stamped
    )


def said(found: dict[str, Any]) -> list[str]:
    """For a terminal."""
    lines = [f"times: {'the kernel’s' if found['receive_stamps'] == 'kernel' else 'those of our own reads'}"]
    for what, name in (("TTFT", "ttft_error"), ("a gap", "gap_error")):
        p50, p99, most = (_short(found[f"{name}_{q}"]) for q in ("p50", "p99", "max"))
        lines.append(f"error of {what}: {p50} at the median, {p99} at the 99th percentile, {most} at most")
    lines.append(f"CPU: {_short(found['cpu_per_token'])} a token, {_short(found['cpu_per_reply'])} a reply")
    lines.append(f"reads that carried several tokens: {found['reads_unresolved']:.2%}")
    for key, what in (("tokens_per_second", "tokens/s"), ("open_streams", "open streams")):
        lines += _limits(what, found[key], found[f"{key}_on_time"])
    return lines


def _limits(what: str, kept_up: float | None, on_time: float | None) -> list[str]:
    """Nothing of what was not looked for."""
    if kept_up is None:
        return []
    if not kept_up:
        return [f"one worker does not keep up with the fewest {what} that were tried"]
    said = f"one worker keeps up with {kept_up:,.0f} {what}"
    if on_time is None:
        return [said]
    return [f"{said}, without delay up to {on_time:,.0f}" if on_time else f"{said}, never without delay"]


def _short(seconds: float | None) -> str:
    if seconds is None:
        return "not known"
    return f"{1e6 * seconds:.1f} µs" if seconds < 0.001 else f"{1e3 * seconds:.2f} ms"
