"""Drop what must not reach a handler: malformed messages, strangers' messages, and those in another's name."""

import logging
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from locust.runners import MasterRunner, WorkerRunner

from probe_ext.measure.safe_text import safe_text
from probe_ext.swarm.link import locust_frames, messages
from probe_ext.swarm.link.lobby import Lobby
from probe_ext.swarm.link.message_shapes import FROM_MASTER, FROM_STRANGERS, FROM_WORKERS, names_sender

logger = logging.getLogger(__name__)

MAX_WORKERS = 10_000
_FROM_LOBBY = frozenset({messages.HELLO, messages.PONG})
_WORKER_ID = re.compile(r"[\w.:-]{1,255}")  # Locust's: host name and a number; it names files and rows


class Dropped:
    """Counts dropped messages by reason; the first of each reason is logged."""

    def __init__(self, counts: Counter[str] | None = None) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts

    def add(self, sender: str, kind: object, why: str) -> None:
        """Count a message."""
        self.counts[why] += 1
        if self.counts[why] == 1:
            what = safe_text(f"{kind} from {sender}", length=150)
            logger.warning("dropped a message (%s): it %s; more of these are only counted", what, why)


class MasterFilter:
    """Stands before Locust's handling of messages on a master. `is_known`: whether a worker takes part."""

    def __init__(
        self, runner: MasterRunner, is_known: Callable[[str], bool], counts: Counter[str] | None = None
    ) -> None:
        self.dropped = Dropped(counts)
        self.lobby = Lobby()
        self._runner, self._is_known, self._handle = runner, is_known, runner.handle_message
        runner.handle_message = self._on_message
        locust_frames.watch_members(is_known)

    def _on_message(self, sender: str, message: Any) -> None:
        why = self._objection(sender, message)
        if why is not None:
            if sender not in self.lobby:  # a worker's heartbeats and statistics begin before it is admitted
                self.dropped.add(sender, message.type, why)
        elif message.type == "client_ready" and not self._is_known(sender):
            self.lobby.hold(sender, message)
            self._runner.send_message("ack", None, sender)  # so that it starts, and can answer a ping
        else:
            self._pass_on(sender, message)

    def admit(self, sender: str) -> None:
        """Let a worker in that waits: Locust gets its `client_ready`."""
        if (message := self.lobby.release(sender)) is not None:
            self._pass_on(sender, message)

    def _pass_on(self, sender: str, message: Any) -> None:
        try:
            self._handle(sender, message)
        except Exception:  # the listener must live on; Locust calls this outside its own handling of errors
            logger.exception("probe: a message of type %.40r could not be handled", message.type)

    def _objection(self, sender: str, message: Any) -> str | None:
        if message.type == locust_frames.UNUSABLE:
            return str(message.data)
        return self._objection_to_sender(sender, message) or self._objection_to_content(sender, message)

    def _objection_to_sender(self, sender: str, message: Any) -> str | None:
        if not _WORKER_ID.fullmatch(sender):
            return "is from a sender without a valid id"
        if message.node_id != sender:
            return "is in another worker's name"
        waits = message.type in _FROM_LOBBY and sender in self.lobby
        if not (message.type in FROM_STRANGERS or waits or self._is_known(sender)):
            return "is from a stranger"
        clients = self._runner.clients
        if message.type == "client_ready" and sender not in clients and len(clients) >= MAX_WORKERS:
            return f"is from one worker more than {MAX_WORKERS}"
        return None

    def _objection_to_content(self, sender: str, message: Any) -> str | None:
        check = FROM_WORKERS.get(message.type)
        if check is None:
            return None if message.type in self._runner.custom_messages else "is of an unknown type"
        if not check(message.data):
            return "has an invalid content"
        return None if names_sender(message.type, message.data, sender) else "is in another worker's name"


class WorkerFilter:
    """Stands before Locust's handling of messages on a worker."""

    def __init__(self, runner: WorkerRunner) -> None:
        self.dropped = Dropped()
        self._handle = runner.handle_message
        runner.handle_message = self._on_message

    def _on_message(self, message: Any) -> None:
        check = FROM_MASTER.get(message.type)
        if message.type == locust_frames.UNUSABLE:
            self.dropped.add("the master", message.type, str(message.data))
        elif check is not None and not check(message.data):
            self.dropped.add("the master", message.type, "has an invalid content")
        else:
            try:
                self._handle(message)
            except Exception:
                logger.exception("probe: a message of type %.40r could not be handled", message.type)
