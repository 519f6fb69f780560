"""The record of what really happened: one JSON line a reply, to check a measuring client against.

The first line (``"kind": "server"``) names profile and seed and ties the clock to the calendar: every time is in
seconds of this machine's monotonic clock, ``epoch - monotonic`` of that line turns it into Unix time. A reply's line:

``id, choice, stream, arrival, queued, scheduled``  who, and when it came, reached the scheduler, was first admitted
``prompt_tokens, cached_tokens, reply_tokens``      as billed; ``reply_tokens`` were handed over or computed so far
``due``                                             when the engine's plan had each token ready
``sent``                                            when each token's bytes were handed to the socket (streams only)
``preempted``                                       starts of the silent stretches
``finish``                                          stop, length, aborted (the client left), or the fault's kind
"""

from io import BufferedWriter
from pathlib import Path
from typing import Any

import orjson

from probe_ext.sim.api.exchange import Choice, Exchange


class Truth:
    """Writes the lines; does nothing without a file."""

    def __init__(self, path: str | None, head: dict[str, Any]) -> None:
        self._file: BufferedWriter | None = Path(path).open("wb") if path else None  # noqa: SIM115 - open as long as the server is
        self._write({"kind": "server", **head})
        self.flush()

    def reply(self, exchange: Exchange, outcome: str) -> None:
        """A reply is over."""
        if self._file is not None:
            for position, choice in enumerate(exchange.choices):
                self._write(_line(exchange, position, choice, outcome))

    def event(self, kind: str, moment: float) -> None:
        """Something happened to the server as a whole."""
        self._write({"kind": kind, "at": moment})

    def flush(self) -> None:
        """Bring everything to the file."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """End the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(orjson.dumps(line) + b"\n")


def _line(exchange: Exchange, position: int, choice: Choice, outcome: str) -> dict[str, Any]:
    done = choice.finished
    shift = exchange.arrival - done.arrival if done else 0.0
    return {
        "kind": "reply",
        "id": exchange.id,
        "choice": position,
        "stream": exchange.ask.stream,
        "arrival": exchange.arrival,
        "queued": done.queued + shift if done else None,
        "scheduled": done.scheduled + shift if done else None,
        "prompt_tokens": len(exchange.ask.prompt),
        "cached_tokens": done.cached_tokens if done else None,
        "reply_tokens": choice.said,
        "due": choice.due,
        "sent": choice.sent,
        "preempted": choice.preempted,
        "fault": exchange.fault.kind if exchange.fault else None,
        "finish": outcome,
    }
