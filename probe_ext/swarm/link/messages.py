"""Messages between master and workers, in addition to Locust's own.

| message | direction | data |
|---|---|---|
| `probe_hello` | worker → master | nothing: it is ready for messages |
| `probe_ping` | master → worker | `t`: master's seconds, `version`, `key` (whether it has one), `variables`, `files` |
| `probe_pong` | worker → master | `t`, `mono` (its own), `clock`, `host`, `version`, `key`, `missing`, `compared` |
| `probe_begin` | master → worker | `run`, `origin` (the run's zero), `directory`, `longest`, `deadlines`, `follow` |
| `probe_arrivals` | master → worker | `run`, `form`, `cv`, `seed`, `give_up`, `give_up_of`, `kinds`, `segments` |
| `probe_batch` | worker → master | a recorder's batch; repeated until acknowledged |
| `probe_ack` | master → worker | `number` of the batch; `kept`: whether the run has it, or it came too late |
| `probe_drain` | master → worker | `run`, `limit`: seconds left for replies in flight; `again`: a repetition |
| `probe_drained` | worker → master | `run`, `last`: number of the worker's last batch |
| `probe_end` | worker → master | a user ends the run: nothing, or `prompts_changed` |

An open stream: of each segment, a stretch of constant rate, a worker learns `number`, `rate` (requests/s; 0: none),
`start` (its own monotonic seconds), which arrivals it takes: every `of`-th from the `index`-th on; None: none; and
`before`: how many arrivals of each kind earlier segments had. For a trace, `replay` is the number of its pass, and
`since` is when that began.

`variables` are the names that --header-env needs, `missing` those that the worker's environment lacks. `files` are the
prompt files of the run, `compared` what the worker found out about its own copies.

Any message may be lost or arrive twice. Batches are numbered, the others may be repeated freely: once a second, the
master repeats what was not answered; a worker repeats batches that were not acknowledged.
"""

import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from probe_ext import __version__
from probe_ext.measure import clock
from probe_ext.settings.request_extras import variable_pairs
from probe_ext.settings.secrets import has_api_key

HELLO = "probe_hello"
PING = "probe_ping"
PONG = "probe_pong"
BEGIN = "probe_begin"
ARRIVALS = "probe_arrivals"
BATCH = "probe_batch"
ACK = "probe_ack"
DRAIN = "probe_drain"
DRAINED = "probe_drained"
END = "probe_end"
PROMPTS_CHANGED = "prompts_changed"
"""end_reason of a run whose prompt file was changed while it went on"""


def clock_name() -> str:
    """Return a name of this process's monotonic clock: the kernel's boot id and time namespace. Empty if unknown.

    Containers on one kernel share CLOCK_MONOTONIC, except in time namespaces with an offset of their own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    try:
        return f"{boot} {Path('/proc/self/ns/time').readlink()}"
    except OSError:
        return boot  # this kernel has no time namespaces


def ping(header_env: Iterable[str] = (), files: Iterable[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the data of a ping; of --header-env, only names are sent, of prompt files, only path and digest."""
    return {
        "t": clock.monotonic(),
        "version": __version__,
        "key": has_api_key(),
        "variables": list(variable_pairs(header_env).values()),
        "files": [{key: entry[key] for key in ("path", "field", "sha256", "trace") if key in entry} for entry in files],
    }


def pong(t: float, missing: Iterable[str] = (), compared: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the data of the answer to a ping."""
    return {
        "t": t,
        "mono": clock.monotonic(),
        "clock": clock_name(),
        "host": socket.gethostname(),
        "version": __version__,
        "key": has_api_key(),
        "missing": list(missing),
        "compared": compared,
    }
