"""Cost of the report, by number of replies, and of reading the server's metrics."""

import csv
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.probe_run import PROBE

_EXAMPLE = Path(__file__).parent.parent / "reports" / "examples" / "vllm"
_METRICS = Path(__file__).parent.parent / "tests" / "fixtures" / "recordings" / "vllm_metrics_0.32.0_load_queueing.txt"


def report(replies: int) -> dict[str, Any]:
    """Measure time and memory of `probe report` for a run whose rows are those of a real run, repeated."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        shutil.copytree(_EXAMPLE, run)
        _repeat_rows(run / "requests.csv", replies)
        for name in ("gaps.csv", *(path.name for path in run.glob("requests-*.csv"))):
            (run / name).unlink(missing_ok=True)
        start = time.perf_counter()
        process = os.spawnv(os.P_NOWAIT, str(PROBE), [str(PROBE), "report", str(run)])
        _, status, usage = os.wait4(process, 0)
        seconds = time.perf_counter() - start
        size = (run / "capacity.html").stat().st_size if (run / "capacity.html").exists() else None
    code = os.waitstatus_to_exitcode(status)
    return {
        "replies": replies,
        "seconds": seconds,
        "megabytes": usage.ru_maxrss / 1024,
        "page_bytes": size,
        "exit": code,
    }


def _repeat_rows(path: Path, replies: int) -> None:
    """Repeat the rows until there are ``replies``, each with a unique reply id."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    column = header.index("reply_id")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for n in range(replies):
            row = list(rows[n % len(rows)])
            row[column] = f"{row[column].partition(':')[0]}:{n + 1}"
            writer.writerow(row)


def poller() -> dict[str, Any]:
    """Measure the CPU time to parse one page of a real vLLM's metrics, as the master does every second."""
    from probe_ext.target.control.call_result import Answer  # noqa: PLC0415 - only this benchmark needs the package
    from probe_ext.target.metrics import poller as polling  # noqa: PLC0415 - only this benchmark needs the package

    text = _METRICS.read_bytes()
    rows: list[Any] = []
    instance = polling.Poller(
        ("http://127.0.0.1/metrics",), lambda *_a, **_k: Answer(200, text), clock=time.perf_counter,
        sleep=lambda _s: None, spawn=lambda *_a: None, emit=rows.extend, period=1.0,
    )  # fmt: skip
    instance.poll("http://127.0.0.1/metrics")
    start, rounds = time.process_time(), 100
    for _ in range(rounds):
        instance.poll("http://127.0.0.1/metrics")
    return {
        "page_bytes": len(text),
        "rows": len(rows) // (rounds + 1),
        "ms": 1e3 * (time.process_time() - start) / rounds,
    }


if __name__ == "__main__":
    print(json.dumps(report(int(sys.argv[1]))))
