"""Run `probe run` as a user would, and read its results: token times, CPU, rows."""

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

from benchmarks.native import CLIENT_CORE, Server, inside

PROBE = Path(sys.executable).with_name("probe")
LOCUSTFILE = Path(__file__).with_name("users.py")


@dataclass(frozen=True)
class Load:
    """Number of streams, duration, and tokens per reply."""

    streams: int
    seconds: float = 20.0
    tokens: int = 100


@dataclass(frozen=True)
class Run:
    """Results of a run."""

    manifest: dict[str, Any]
    rows: list[dict[str, str]]
    token_log: dict[str, Any] | None
    lag_p99: float | None
    tokens_by_second: dict[int, int]
    """Tokens received in each second of the run."""
    process_cpu: float
    """CPU seconds of all processes, including start-up."""

    def total(self, column: str) -> float:
        """Sum a column of requests.csv."""
        return sum(float(row[column]) for row in self.rows if row[column])

    @property
    def worker_cpu(self) -> float:
        """CPU seconds of the processes that run users, since the start of the run."""
        return float(sum(worker["cpu_seconds"] for worker in self.manifest["workers"]))

    @property
    def reading_path(self) -> str:
        """What read the sockets of the first worker."""
        return str(self.manifest["workers"][0].get("reading_path"))

    @property
    def unresolved(self) -> float:
        """Fraction of reads that returned several token events."""
        return self.total("reads_unresolved") / self.total("reads")


def stages(target: Server, load: Load, *, whole: bool = False) -> dict[str, Any]:
    """Measure the CPU per stage of one run, or only per thread as a `whole`; see `stages`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stages.json"
        done = run(target, load, stages_path=path, whole=whole)
        result: dict[str, Any] = json.loads(path.read_text())
        return result | {"path": done.reading_path}


def run(  # noqa: PLR0913 -- all but the server and the load by name
    target: Server,
    load: Load,
    *more: str,
    token_log: bool = False,
    timestamps: bool = True,
    core: str = CLIENT_CORE,
    stages_path: Path | None = None,
    whole: bool = False,
    native: bool = True,
    think: float = 0.0,
    namespace: str | None = None,
) -> Run:
    """Run a load on the given cores. Raises CalledProcessError if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        out, log_path = Path(folder) / "run", Path(folder) / "tokens.npz"
        environment = dict(os.environ)
        environment.pop("PROBE_API_KEY", None)
        environment["PROBE_NATIVE"] = "1" if native else "0"
        environment["BENCH_THINK_S"] = str(think)
        if token_log:
            environment["BENCH_TOKEN_LOG"] = str(log_path)
        if stages_path is not None:
            environment |= {"BENCH_STAGES": str(stages_path), "PYTHONPATH": str(LOCUSTFILE.parent.parent)}
            environment["BENCH_WHOLE"] = str(int(whole))
        if not timestamps:
            environment["BENCH_NO_TIMESTAMPS"] = "1"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        completed = subprocess.run(
            [*inside(namespace), "taskset", "-c", core, *_command(target, load, out), *more],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if completed.returncode not in {0, 3}:
            raise subprocess.CalledProcessError(
                completed.returncode, completed.args, completed.stdout, completed.stderr
            )
        with (out / "requests.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return Run(
            json.loads((out / "run.json").read_text()),
            rows,
            dict(np.load(log_path)) if token_log else None,
            _lag_p99(out / "sketches.jsonl"),
            _tokens(out / "sketches.jsonl"),
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        )


def _command(target: Server, load: Load, out: Path) -> list[str]:
    line = [
        str(PROBE),
        "run",
        str(LOCUSTFILE),
        "--host",
        target.url,
        "-u",
        str(load.streams),
        "-r",
        str(max(1, load.streams)),
    ]
    line += ["-t", f"{load.seconds:g}s", "--max-tokens", str(load.tokens), "--input-tokens", "32", "--prompt-seed", "1"]
    return [*line, "--warm-up", "off", "--insecure", "--no-report", "--out", str(out)]


def _tokens(path: Path) -> dict[int, int]:
    records = map(json.loads, path.read_text().splitlines())
    return {int(record["start"]): record["count"] for record in records if record["metric"] == "tokens"}


def _lag_p99(path: Path) -> float | None:
    from probe_ext.measure.sketch import LatencySketch  # noqa: PLC0415 - only this function needs the package

    lags = LatencySketch()
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record["metric"] == "lag":
            lags.merge(LatencySketch.from_wire(record["sketch"]))
    return lags.quantile(0.99)
