"""A locustfile whose users send one request every PROBE_THINK seconds, and which can count the master's messages.

If PROBE_WIRE_FILE is set, the master writes to it the number and size in bytes of the messages that it sent and
received, by type, as serialized by msgpack.
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

_traffic: dict[str, dict[str, int]] = defaultdict(lambda: {"messages": 0, "bytes": 0, "largest": 0})


class ThinkingUser(StreamingUser):
    """Sends requests with think time."""

    wait_time = constant_pacing(float(os.environ.get("PROBE_THINK", "10")))

    @task
    def ask(self) -> None:
        """Send one request."""
        self.llm.ask(self.prompts.next())


def _count(direction: str, kind: str, size: int) -> None:
    counts = _traffic[f"{direction} {kind}"]
    counts["messages"] += 1
    counts["bytes"] += size
    counts["largest"] = max(counts["largest"], size)


@events.init.add_listener
def _count_messages(environment: Any, **_: Any) -> None:
    file = os.environ.get("PROBE_WIRE_FILE")
    if not file or not isinstance(environment.runner, MasterRunner):
        return
    pack, unpack = Message.serialize, Message.unserialize.__func__

    def serialize(self: Message) -> bytes:
        data: bytes = pack(self)
        _count("out", self.type, len(data))
        return data

    def unserialize(cls: type[Message], data: bytes) -> Message:
        message: Message = unpack(cls, data)
        _count("in", message.type, len(data))
        return message

    Message.serialize, Message.unserialize = serialize, classmethod(unserialize)
    environment.events.quit.add_listener(lambda **_: Path(file).write_text(json.dumps(_traffic, indent=1)))
