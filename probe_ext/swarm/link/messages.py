"""What master and workers say to each other, beside Locust's own messages.

| message | direction | data |
|---|---|---|
| `probe_hello` | worker → master | nothing: it can be spoken to now |
| `probe_ping` | master → worker | `t`: master's monotonic seconds, `version`, `key` (whether it has one) |
| `probe_pong` | worker → master | `t` back, `mono`: its monotonic seconds, `clock` (a name), `host`, `version`, `key` |
| `probe_begin` | master → worker | `run`, `origin` (zero by the worker's clock), `directory`, `longest`, `deadlines` |
| `probe_batch` | worker → master | a recorder's batch; sent again until it is acknowledged |
| `probe_ack` | master → worker | `number` of the batch |
| `probe_drain` | master → worker | `run`, `limit`: seconds that replies in flight may still take; `again`: repeated |
| `probe_drained` | worker → master | `run`, `last`: number of the worker's last batch |
| `probe_end` | worker → master | nothing: a user says that the run has what it wants |

Every message may come twice or not at all: a batch is known by its number, the others only repeat what holds. The
master says again what was not answered, once a second; a worker sends a batch again that was not acknowledged.
"""

import socket
from pathlib import Path
from typing import Any

from probe_ext import __version__
from probe_ext.measure import clock
from probe_ext.settings.secrets import has_api_key

HELLO, PING, PONG, BEGIN, BATCH, ACK = (
    "probe_hello",
    "probe_ping",
    "probe_pong",
    "probe_begin",
    "probe_batch",
    "probe_ack",
)
DRAIN, DRAINED, END = "probe_drain", "probe_drained", "probe_end"


def clock_name() -> str:
    """Names the monotonic clock of this process: this boot of this kernel, and its time namespace. Empty if unknown.

    Containers of one kernel share CLOCK_MONOTONIC, unless one has a time namespace with an offset of its own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    try:
        return f"{boot} {Path('/proc/self/ns/time').readlink()}"
    except OSError:
        return boot  # a kernel without time namespaces


def ping() -> dict[str, Any]:
    """A master's question."""
    return {"t": clock.monotonic(), "version": __version__, "key": has_api_key()}


def pong(t: float) -> dict[str, Any]:
    """A worker's answer to a ping."""
    return {
        "t": t,
        "mono": clock.monotonic(),
        "clock": clock_name(),
        "host": socket.gethostname(),
        "version": __version__,
        "key": has_api_key(),
    }
