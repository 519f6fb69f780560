"""`probe run` as a user would start it, and what one such run did: token times, CPU, rows."""

import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.native import CLIENT_CORE, Server

PROBE = Path(sys.executable).with_name("probe")
READING = "reading all that are ready"
"""the stage that runs once a token"""
USERS = Path(__file__).with_name("users.py")


@dataclass(frozen=True)
class Load:
    """How many streams ask for replies of how many tokens, for how long."""

    streams: int
    seconds: float = 20.0
    tokens: int = 100


@dataclass(frozen=True)
class Run:
    """What a run left."""

    manifest: dict[str, Any]
    rows: list[dict[str, str]]
    book: dict[str, Any] | None
    lag_p99: float | None
    tokens_by_second: dict[int, int]
    """tokens that came in each second of the run"""
    process_cpu: float
    """seconds of all its processes, start-up included"""

    def total(self, column: str) -> float:
        """A column of requests.csv added up."""
        return sum(float(row[column]) for row in self.rows if row[column])

    @property
    def worker_cpu(self) -> float:
        """CPU seconds of the processes that run users, from the run's beginning."""
        return float(sum(worker["cpu_seconds"] for worker in self.manifest["workers"]))

    @property
    def cpu_us_a_token(self) -> float:
        """Microseconds."""
        return 1e6 * self.worker_cpu / self.total("tokens_out")

    @property
    def unresolved(self) -> float:
        """Share of the reads that carried several token events."""
        return self.total("reads_unresolved") / self.total("reads")


def stages(at: Server, load: Load) -> dict[str, Any]:
    """CPU by stage of one run, see `stages`."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "stages.json"
        run(at, load, stages_to=kept)
        told: dict[str, Any] = json.loads(kept.read_text())
        return told


def run(
    at: Server,
    load: Load,
    *more: str,
    book: bool = False,
    stamps: bool = True,
    core: str = CLIENT_CORE,
    stages_to: Path | None = None,
) -> Run:
    """One run on one core, or on those that `core` names. CalledProcessError where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out, kept = Path(folder) / "run", Path(folder) / "book.npz"
        environment = dict(os.environ)
        environment.pop("PROBE_API_KEY", None)
        if book:
            environment["BENCH_BOOK"] = str(kept)
        if stages_to is not None:
            environment |= {"BENCH_STAGES": str(stages_to), "PYTHONPATH": str(USERS.parent.parent)}
        if not stamps:
            environment["BENCH_NO_STAMPS"] = "1"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            ["taskset", "-c", core, *_command(at, load, out), *more],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode not in {0, 3}:
            raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
        with (out / "requests.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return Run(
            json.loads((out / "run.json").read_text()),
            rows,
            dict(np.load(kept)) if book else None,
            _lag_p99(out / "sketches.jsonl"),
            _tokens(out / "sketches.jsonl"),
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        )


def _command(at: Server, load: Load, out: Path) -> list[str]:
    line = [str(PROBE), "run", str(USERS), "--host", at.url, "-u", str(load.streams), "-r", str(max(1, load.streams))]
    line += ["-t", f"{load.seconds:g}s", "--max-tokens", str(load.tokens), "--input-tokens", "32", "--prompt-seed", "1"]
    return [*line, "--warm-up", "off", "--insecure", "--no-report", "--out", str(out)]


def _tokens(path: Path) -> dict[int, int]:
    records = map(json.loads, path.read_text().splitlines())
    return {int(record["start"]): record["count"] for record in records if record["metric"] == "tokens"}


def _lag_p99(path: Path) -> float | None:
    from probe_ext.measure.sketch import LatencySketch  # noqa: PLC0415 - the runner itself needs nothing of the package

    lags = LatencySketch()
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record["metric"] == "lag":
            lags.merge(LatencySketch.from_wire(record["sketch"]))
    return lags.quantile(0.99)
