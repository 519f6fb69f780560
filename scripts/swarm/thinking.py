"""Users who think: one question every PROBE_THINK seconds each. And what the master's channel carries, counted.

Where PROBE_WIRE_FILE names a file, the master writes into it how many messages of each kind came and went, and their
bytes, as msgpack put them on the wire.
"""

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from locust import constant_pacing, events, task
from locust.rpc import Message
from locust.runners import MasterRunner

from probe_ext import StreamingUser

_carried: dict[str, dict[str, int]] = defaultdict(lambda: {"messages": 0, "bytes": 0, "largest": 0})


class ThinkingUser(StreamingUser):
    """Asks, reads, thinks."""

    wait_time = constant_pacing(float(os.environ.get("PROBE_THINK", "10")))

    @task
    def ask(self) -> None:
        """One question, one reply."""
        self.llm.ask(self.prompts.next())


def _note(way: str, kind: str, size: int) -> None:
    counted = _carried[f"{way} {kind}"]
    counted["messages"] += 1
    counted["bytes"] += size
    counted["largest"] = max(counted["largest"], size)


@events.init.add_listener
def _count_messages(environment: Any, **_: Any) -> None:
    file = os.environ.get("PROBE_WIRE_FILE")
    if not file or not isinstance(environment.runner, MasterRunner):
        return
    pack, unpack = Message.serialize, Message.unserialize.__func__

    def serialize(self: Message) -> bytes:
        data: bytes = pack(self)
        _note("out", self.type, len(data))
        return data

    def unserialize(cls: type[Message], data: bytes) -> Message:
        message: Message = unpack(cls, data)
        _note("in", message.type, len(data))
        return message

    Message.serialize, Message.unserialize = serialize, classmethod(unserialize)
    environment.events.quit.add_listener(lambda **_: Path(file).write_text(json.dumps(_carried, indent=1)))
