"""How long `probe run` takes from its start to its first request, as the server's kernel sees it."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks import native
from benchmarks.probe_run import PROBE


def measure(starts: int) -> dict[str, list[float]]:
    """Return the seconds to the first request of any kind, and to the first one for a reply, of each start.

    One start before these does not count: it may have to read or compile files that the others find in memory.
    """
    found = [_start() for _ in range(starts + 1)][1:]
    return {name: [times[name] for times in found] for name in ("first_request_ns", "first_chat_ns")}


def _start() -> dict[str, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PROBE_API_KEY"}
    with tempfile.TemporaryDirectory() as folder, native.server() as server:
        load = ["-u", "1", "-t", "1s", "--max-tokens", "5", "--no-report", "--out", str(Path(folder) / "run")]
        start = time.monotonic_ns()
        subprocess.run([PROBE, "run", "--host", server.url, *load], env=environment, capture_output=True, check=True)
    return {name: (server.totals[name] - start) / 1e9 for name in ("first_request_ns", "first_chat_ns")}
