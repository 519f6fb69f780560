"""Fakes for the swarm's tests: replies without a server, time without waiting, lossy messages."""

import random
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gevent import getcurrent
from gevent import sleep as really_sleep
from locust.event import EventHook
from locust.rpc import Message
from locust.runners import MasterRunner, WorkerNodes, WorkerRunner

from probe_ext.client.decoder import Choice
from probe_ext.client.reply import Reply
from probe_ext.measure.fluidity import Deadlines
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.measure.timeline import Marks, TokenEvents
from probe_ext.settings.options import Options, read_options
from probe_ext.swarm.link.workers import Workers
from probe_ext.swarm.master.open_stream import OpenStream
from probe_ext.swarm.run_files.collector import Collector
from probe_ext.swarm.users.recorder import Recorder, RequestInfo


class World:
    """Time that passes only in `sleep`, with scheduled calls."""

    def __init__(self) -> None:
        self.now = 100.0
        self.clocks: dict[str, Callable[[float], float]] = {}
        """clock of a process by the world's time, if it differs"""
        self.who = ""
        """the running process"""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._n = 0
        self._home = getcurrent()

    def shown(self) -> float:
        """Return the clock of the running process."""
        clock = self.clocks.get(self.who)
        return clock(self.now) if clock else self.now

    @contextmanager
    def on(self, who: str) -> Iterator[None]:
        """Run code as a process of the swarm."""
        before, self.who = self.who, who
        try:
            yield
        finally:
            self.who = before

    def at(self, moment: float, what: Callable[[], None]) -> None:
        """Call a function at a time."""
        self._n += 1
        self._due.append((moment, self._n, what))

    def every(self, seconds: float, what: Callable[[], None]) -> None:
        """Call a function every so many seconds."""

        def again() -> None:
            what()
            self.at(self.now + seconds, again)

        self.at(self.now + seconds, again)

    def sleep(self, seconds: float = 0) -> None:
        """Let time pass, and call what is due. Greenlets that another test left behind sleep in real time."""
        if getcurrent() is not self._home:
            really_sleep(seconds)
            return
        until = self.now + seconds
        while due := [item for item in self._due if item[0] <= until]:
            first = min(due)
            self._due.remove(first)
            self.now = max(self.now, first[0])
            with self.on(""):
                first[2]()
        self.now = max(self.now, until)

    def spawn(self, what: Callable[..., Any], *arguments: Any) -> SimpleNamespace:
        """Call functions with arguments at once; endless loops are driven by the test."""
        if arguments:
            what(*arguments)
        return SimpleNamespace(what=what, arguments=arguments, kill=lambda: None, join=lambda: None)


class Talk:
    """A fake of an exchange in flight."""

    def __init__(self) -> None:
        self.cut_at: list[bool] = []

    def cancel(self) -> None:
        self.cut_at.append(True)


def a_reply(sent: float = 101.0, tokens: int = 5, gap: float = 0.02, outcome: Outcome = Outcome.COMPLETE) -> Reply:
    """A streamed reply: the first token after 0.5 s, then one every `gap` seconds."""
    at = [sent + 0.5 + k * gap for k in range(tokens)]
    choice = Choice(TokenEvents(at, [1] * tokens, [True] * tokens), ["x"] * tokens, finish="stop")
    marks = Marks(due=sent, sent=sent, headers=sent + 0.1, end=at[-1] if at else sent)
    return Reply(marks, streamed=True, outcome=outcome, choices=[choice], tokens_out=tokens, tokens_from="usage")


def ask(recorder: Recorder, reply: Reply | None = None, user: str = "w:1") -> ReplyRow:
    """Record one reply from start to end."""
    talk: Any = Talk()
    number = recorder.start(talk)
    return recorder.end(talk, reply or a_reply(), RequestInfo(user, "capacity", "chat"), number)


@dataclass
class Disk:
    """Stands between a table and its file; may be full."""

    full: bool = False

    def write(self, real: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        def write(descriptor: int, data: Any) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return real(descriptor, data)

        return write


@dataclass
class Wire:
    """Carries messages between a master and its workers; loses and doubles some."""

    world: World
    lost: float = 0.0
    doubled: float = 0.0
    seed: int = 0
    slow: float = 0.2
    """largest delay of a message, in seconds"""
    counts: dict[str, int] = field(default_factory=lambda: {"lost": 0, "doubled": 0, "carried": 0})

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def carry(self, handler: Callable[..., Any] | None, message: Message, to: str = "") -> None:
        """Deliver a message once, twice or never, after a delay; `to` is the receiving process."""
        if handler is None:
            return
        times = 1
        if message.type != "stats":
            chance = self._rng.random()
            times = 0 if chance < self.lost else 2 if chance < self.lost + self.doubled else 1
        self.counts[("lost", "carried", "doubled")[times]] += 1
        for _ in range(times):
            wait = 0.001 + self.slow * self._rng.random()  # messages overtake one another
            self.world.at(self.world.now + wait, lambda: self._hand_over(handler, message, to))

    def _hand_over(self, handler: Callable[..., Any], message: Message, to: str) -> None:
        with self.world.on(to):
            handler(environment=None, msg=message)


class FakeMaster(MasterRunner):
    """A fake of Locust's master runner."""

    greenlet = None

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.clients = WorkerNodes()
        self.heard: dict[str, Any] = {}
        self.others: dict[str, FakeWorker] = {}
        self.state, self.target_user_count = "running", None

    @property
    def user_count(self) -> int:
        return 0

    @property
    def worker_count(self) -> int:
        return sum(1 for client in self.clients.values() if client.state != "missing")

    def register_message(self, msg_type: str, listener: Any, concurrent: bool = False) -> None:
        self.heard[msg_type] = listener

    def handle_message(self, client_id: str, msg: Message) -> None:
        if msg.type == "quit":
            self.clients.pop(client_id, None)

    def send_message(self, msg_type: str, data: Any = None, client_id: str | None = None) -> None:
        for name in [client_id] if client_id else list(self.others):
            other = self.others.get(name)
            self.wire.carry(other.heard.get(msg_type) if other else None, Message(msg_type, data, name), name)


class FakeWorker(WorkerRunner):
    """A fake of Locust's worker runner."""

    greenlet = None

    def __init__(self, wire: Wire, name: str, master: FakeMaster) -> None:
        self.wire, self.client_id, self.master = wire, name, master
        self.heard: dict[str, Any] = {}
        master.others[name] = self
        master.clients[name] = SimpleNamespace(id=name, state="running")
        self.environment: Any = None

    def register_message(self, msg_type: str, listener: Any, concurrent: bool = False) -> None:
        self.heard[msg_type] = listener

    def send_message(self, msg_type: str, data: Any = None, client_id: str | None = None) -> None:
        self.wire.carry(self.master.heard.get(msg_type), Message(msg_type, data, self.client_id))


def environment(runner: Any, **given: Any) -> Any:
    """The parts of Locust's environment that the package uses."""
    options = {"headless": True, "only_summary": True, "locustfile": "capacity.py", "host": "http://x", **given}
    hooks = SimpleNamespace(report_to_master=EventHook(), request=EventHook(), heartbeat_sent=EventHook())
    hooks.heartbeat_received = EventHook()
    return SimpleNamespace(runner=runner, events=hooks, parsed_options=Namespace(**options), shape_class=None)


class FakeRun:
    """The parts of a run that the coordinator uses, with a real collector."""

    def __init__(self, world: World, directory: Path, options: Options | None = None, run: str = "r1") -> None:
        self._world = world
        self.id, self.directory, self.options = run, directory, options or read_options({"drain": "2s"})
        self.origin, self.ended, self.end_reason = world.now, None, None
        self.deadlines = Deadlines(first=1.0, each=0.1)
        self.stream: OpenStream | None = None
        self.rows: list[ReplyRow] = []
        self.workers = Workers()
        self.collector = Collector(run, directory, self.rows.append, self._offset_at)

    def _offset_at(self, worker: str, t: float) -> float:
        return self.workers.join(worker).offset_at(self.origin + t)

    def now(self) -> float:
        return self._world.now - self.origin

    def finish(self) -> None:
        self.ended = self.now()
        self.collector.close()

    def write_manifest(self) -> None:
        """Do nothing."""

    def note_users(self) -> None:
        """Do nothing."""
