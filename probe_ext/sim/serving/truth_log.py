"""The truth log (`--truth FILE.jsonl`): what really happened, to check a client's measurements against.

Times are seconds of this machine's monotonic clock. The first line (``"kind": "server"``) has the profile, the seed,
and the same instant on both clocks: add its ``epoch - monotonic`` to a time to get Unix time. Restarts and the stop of
the server have a line each. Each choice of each reply has one line (``"kind": "reply"``):

=============================================  ====================================================================
``id, choice, stream``                         which reply
``arrival, queued, scheduled``                 when it arrived, reached the scheduler's queue, and was first admitted
``prompt_tokens, cached_tokens``               as in ``usage``
``reply_tokens``                               tokens generated so far
``due``                                        when the engine finished computing each token
``sent``                                       when each token's bytes were written to the socket (streams only)
``preempted``                                  when each preemption began
``fault``                                      kind of the fault injected, if any
``finish``                                     stop, length, aborted (the client disconnected), or the fault's kind
=============================================  ====================================================================
"""

from io import BufferedWriter
from pathlib import Path
from typing import Any

import orjson

from probe_ext.sim.serving.http_exchange import Choice, Exchange


class TruthLog:
    """Writes the log; does nothing if no path is given."""

    def __init__(self, path: str | None, header: dict[str, Any]) -> None:
        self._file: BufferedWriter | None = Path(path).open("wb") if path else None  # noqa: SIM115 - open for the server's lifetime
        self._write({"kind": "server", **header})
        self.flush()

    def log_reply(self, exchange: Exchange, outcome: str) -> None:
        """Log a reply that has ended."""
        if self._file is not None:
            for position, choice in enumerate(exchange.choices):
                self._write(_reply_line(exchange, position, choice, outcome))

    def log_event(self, kind: str, moment: float) -> None:
        """Log an event that concerns the whole server."""
        self._write({"kind": kind, "at": moment})

    def flush(self) -> None:
        """Flush buffered lines to the file."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(orjson.dumps(line) + b"\n")


def _reply_line(exchange: Exchange, position: int, choice: Choice, outcome: str) -> dict[str, Any]:
    done = choice.finished
    shift = exchange.arrival - done.arrival if done else 0.0
    return {
        "kind": "reply",
        "id": exchange.id,
        "choice": position,
        "stream": exchange.request.stream,
        "arrival": exchange.arrival,
        "queued": done.queued + shift if done else None,
        "scheduled": done.scheduled + shift if done else None,
        "prompt_tokens": len(exchange.request.prompt),
        "cached_tokens": done.cached_tokens if done else None,
        "reply_tokens": choice.generated,
        "due": choice.due,
        "sent": choice.sent,
        "preempted": choice.preempted,
        "fault": exchange.fault.kind if exchange.fault else None,
        "finish": outcome,
    }
