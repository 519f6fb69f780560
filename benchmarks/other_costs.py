"""What else costs: the report by the number of replies, and reading the server's metrics."""

import csv
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.ours import PROBE

_EXAMPLE = Path(__file__).parent.parent / "reports" / "examples" / "vllm"
_METRICS = Path(__file__).parent.parent / "tests" / "fixtures" / "recordings" / "vllm_metrics_0.32.0_load_queueing.txt"


def report(replies: int) -> dict[str, Any]:
    """Seconds and megabytes of `probe report` for a run of so many replies: a real one's rows, over and over."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        shutil.copytree(_EXAMPLE, run)
        _grow(run / "requests.csv", replies)
        for gone in ("gaps.csv", *(path.name for path in run.glob("requests-*.csv"))):
            (run / gone).unlink(missing_ok=True)
        began = time.perf_counter()
        process = os.spawnv(os.P_NOWAIT, str(PROBE), [str(PROBE), "report", str(run)])
        _, status, used = os.wait4(process, 0)
        took = time.perf_counter() - began
        size = (run / "capacity.html").stat().st_size if (run / "capacity.html").exists() else None
    code = os.waitstatus_to_exitcode(status)
    return {"replies": replies, "seconds": took, "megabytes": used.ru_maxrss / 1024, "page_bytes": size, "exit": code}


def _grow(path: Path, replies: int) -> None:
    """As many rows as asked, spread over the same users and times; every reply has an identity of its own."""
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
    """CPU milliseconds of taking one page of a real vLLM's metrics apart, as the master does once a second."""
    from probe_ext.target import poller as polling  # noqa: PLC0415 - the runner itself needs nothing of the package
    from probe_ext.target.call_result import Answer  # noqa: PLC0415 - as above

    text = _METRICS.read_bytes()
    rows: list[Any] = []
    made = polling.Poller(
        ("http://127.0.0.1/metrics",), lambda *_a, **_k: Answer(200, text), clock=time.perf_counter,
        sleep=lambda _s: None, spawn=lambda *_a: None, emit=rows.extend, period=1.0,
    )  # fmt: skip
    made.poll("http://127.0.0.1/metrics")
    began, times = time.process_time(), 100
    for _ in range(times):
        made.poll("http://127.0.0.1/metrics")
    return {
        "page_bytes": len(text),
        "rows": len(rows) // (times + 1),
        "ms": 1e3 * (time.process_time() - began) / times,
    }


if __name__ == "__main__":
    print(json.dumps(report(int(sys.argv[1]))))
