"""Measure how punctual the simulated server is with many streams, by default 1,000 at 20 tokens/s each.

It starts `probe sim` with a profile whose steps always take the same time, opens the streams with a client that
discards what it reads, and prints how far from their due time tokens were sent, according to the server's truth log,
and the server's CPU time. `make sim-load` runs it.
"""

import argparse
import json
import selectors
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np

from scripts.process_usage import cpu_seconds
from scripts.processes import simulator

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
RAMP_S = 2.0  # excluded, because the server is still reading requests


def main() -> int:
    """Run the server and the client, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000, help="number of streams [1000]")
    parser.add_argument("--rate", type=float, default=20.0, help="tokens/s per stream [20]")
    parser.add_argument("--seconds", type=float, default=15.0, help="duration of each stream [15]")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        profile, truth = Path(folder) / "flat.yaml", Path(folder) / "truth.jsonl"
        profile.write_text(PROFILE.format(step=1 / args.rate, streams=args.streams))
        with simulator("--profile", str(profile), "--truth", str(truth)) as (server, url):
            read_streams(int(url.rpartition(":")[2]), args.streams, int(args.rate * args.seconds))
            cpu = cpu_seconds(server.pid)
        print_results(truth, cpu, args)
    return 0


def read_streams(port: int, streams: int, tokens: int) -> None:
    """Send a request on every stream, and read until all streams have ended."""
    body = json.dumps({"prompt": "a", "stream": True, "ignore_eos": True, "max_tokens": tokens}).encode()
    request = b"POST /v1/completions HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    selector = selectors.DefaultSelector()
    for _ in range(streams):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(request % (len(body), body))
        selector.register(stream, selectors.EVENT_READ)
    remaining = streams
    while remaining:
        for key, _ in selector.select():
            if not key.fileobj.recv(65536):  # type: ignore[union-attr]
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
                remaining -= 1


def print_results(truth: Path, cpu: float, args: argparse.Namespace) -> None:
    """Evaluate the truth log and print the results."""
    replies = [line for line in map(json.loads, truth.open()) if line["kind"] == "reply"]
    due, sent = (np.array([time for reply in replies for time in reply[key]]) for key in ("due", "sent"))
    after_ramp = due > due.min() + RAMP_S
    deviation = np.abs(sent - due)[after_ramp] * 1000
    duration = due[after_ramp].max() - due[after_ramp].min()
    p50, p90, p99, maximum = np.percentile(deviation, [50, 90, 99, 100])
    print(f"{args.streams} streams, {len(deviation) / duration:.0f} tokens/s for {duration:.1f} s")
    print(f"deviation from the due time: p50 {p50:.1f} ms, p90 {p90:.1f} ms, p99 {p99:.1f} ms, max {maximum:.1f} ms")
    per_token = cpu / len(due)
    print(f"server CPU: {per_token * 1e6:.1f} µs per token, {per_token * len(deviation) / duration:.0%} of a core")


if __name__ == "__main__":
    sys.exit(main())
