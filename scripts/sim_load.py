"""How near the simulated server keeps to its own plan with many streams: 1,000 of them, 20 tokens/s each.

Starts `probe sim` with a profile whose step takes 50 ms whatever it holds, opens the streams with a reader that throws
the bytes away, and prints, from the server's own record, how far from the engine's plan tokens were handed to
their sockets, and the CPU it took. `make sim-load` runs it.
"""

import argparse
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PROBE = Path(sys.executable).with_name("probe")
PROFILE = """base: demo
step_overhead_s: {step}
sequence_overhead_s: 0.0
frontend_s: 0.0
memory_bandwidth: 1.0e+15
flops: 1.0e+18
kv_pool_bytes: 4.0e+10
gpu_memory_bytes: 1.0e+11
max_num_seqs: {streams}
max_num_batched_tokens: 65536
"""
WARM_S = 2.0
"""at the start the requests themselves are read: not part of what is asked here"""


def main() -> int:
    """Run it, print one line of figures each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000, help="open streams [1000]")
    parser.add_argument("--rate", type=float, default=20.0, help="tokens/s of each [20]")
    parser.add_argument("--seconds", type=float, default=15.0, help="length [15]")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        profile, truth = Path(folder) / "flat.yaml", Path(folder) / "truth.jsonl"
        profile.write_text(PROFILE.format(step=1 / given.rate, streams=given.streams))
        options = ["--profile", profile, "--port", "0", "--truth", truth]
        with subprocess.Popen([PROBE, "sim", *options], stdout=subprocess.PIPE, text=True) as server:
            try:
                port = int(re.findall(r":(\d+)", next(iter(server.stdout or [])))[-1])
                read(port, given.streams, int(given.rate * given.seconds))
                cpu = cpu_of(server.pid)
            finally:
                server.terminate()
        show(truth, cpu, given)
    return 0


def read(port: int, streams: int, tokens: int) -> None:
    """Ask on every stream, and read until all of them are over."""
    body = json.dumps({"prompt": "a", "stream": True, "ignore_eos": True, "max_tokens": tokens}).encode()
    ask = b"POST /v1/completions HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    selector = selectors.DefaultSelector()
    for _ in range(streams):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(ask % (len(body), body))
        selector.register(stream, selectors.EVENT_READ)
    left = streams
    while left:
        for key, _ in selector.select():
            if not key.fileobj.recv(65536):  # type: ignore[union-attr]
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
                left -= 1


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(truth: Path, cpu: float, given: argparse.Namespace) -> None:
    """Print what the record says."""
    replies = [line for line in map(json.loads, truth.open()) if line["kind"] == "reply"]
    due, sent = (np.array([moment for reply in replies for moment in reply[key]]) for key in ("due", "sent"))
    settled = due > due.min() + WARM_S
    off = np.abs(sent - due)[settled] * 1000
    lasted = due[settled].max() - due[settled].min()
    p50, p90, p99, most = np.percentile(off, [50, 90, 99, 100])
    print(f"{given.streams} streams, {len(off) / lasted:.0f} tokens/s for {lasted:.1f} s")
    print(f"off the plan: p50 {p50:.1f} ms, p90 {p90:.1f} ms, p99 {p99:.1f} ms, max {most:.1f} ms")
    each = cpu / len(due)
    print(f"CPU of the server: {each * 1e6:.1f} µs a token, {each * len(off) / lasted:.0%} of a core")


if __name__ == "__main__":
    sys.exit(main())
