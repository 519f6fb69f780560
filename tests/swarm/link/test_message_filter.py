"""Messages are checked for type, size, sender and membership before they touch anything."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest
from fake_swarm import Swarm
from locust.rpc.protocol import Message
from swarm_fakes import Wire, World, a_reply, ask

from probe_ext import __version__
from probe_ext.measure.table_rows import ReplyRow, columns
from probe_ext.swarm.link import locust_frames, messages
from probe_ext.swarm.link.lobby import Lobby
from probe_ext.swarm.link.message_filter import MasterFilter, WorkerFilter
from probe_ext.swarm.link.message_shapes import FROM_MASTER, FROM_WORKERS
from probe_ext.swarm.preparation.wait_for_workers import outlive_workers
from probe_ext.swarm.users.recorder import Batch, Recorder
from tests.attacks import wrong_messages

COLUMN = {name: n for n, name in enumerate(columns(ReplyRow))}


def a_batch(worker: str = "w") -> Batch:
    """What a worker really sends, as it arrives."""
    recorder = Recorder(worker)
    recorder.begin("r1", 100.0, None)
    for _ in range(3):
        ask(recorder, a_reply(gap=0.5), user=f"{worker}:1")
    recorder.flush()
    arrived: Batch = msgpack.loads(msgpack.dumps(recorder.unacknowledged[1]), strict_map_key=False)
    assert arrived["gaps"]
    assert {"count", "sketch"} <= {key for window in arrived["windows"] for key in window}
    return arrived


class Runner:
    """A fake of Locust's master that keeps what reaches it."""

    def __init__(self) -> None:
        self.clients: dict[str, Any] = {"w": 1, "v": 1}
        self.custom_messages: dict[str, Any] = {"theirs": 1}
        self.arrived: list[str] = []
        self.sent: list[tuple[str, str | None]] = []

    def send_message(self, kind: str, data: Any = None, client_id: str | None = None) -> None:
        self.sent.append((kind, client_id))

    def handle_message(self, _: str, message: Message) -> None:
        self.arrived.append(message.type)
        if message.data == "raise":
            raise KeyError("no such thing")


@pytest.fixture
def runner() -> Runner:
    made: Any = Runner()
    made.filter = MasterFilter(made, lambda worker: worker in made.clients)
    return made


def send(runner: Any, kind: Any, data: Any = None, sender: str = "w", name: str | None = None) -> bool:
    """Whether a message gets through."""
    before = len(runner.arrived)
    runner.handle_message(sender, Message(kind, data, sender if name is None else name))
    return len(runner.arrived) > before


PONG = {"t": 1.0, "mono": 2.0, "clock": "c", "host": "box", "version": __version__, "key": False}
STATS = {
    "stats": [{"name": "a", "method": "LLM", "num_requests": 1}],
    "stats_total": {"name": "Aggregated", "method": "", "num_requests": 1, "num_failures": 0},
    "errors": {},
    "user_classes_count": {"ChatUser": 2},
    "user_count": 2,
}
VALID: dict[str, Any] = {
    "client_ready": "2.47.0",
    "locustfile": {"version": "2.47.0"},
    "client_stopped": None,
    "heartbeat": {"state": "running", "current_cpu_usage": 12.5, "current_memory_usage": 10_000_000},
    "stats": STATS,
    "spawning": None,
    "spawning_complete": {"user_classes_count": {"ChatUser": 2}, "user_count": 2},
    "logs": {"worker_id": "w", "logs": ["a line"]},
    "quit": None,
    "exception": {"msg": "m", "traceback": "t"},
    messages.HELLO: None,
    messages.PONG: PONG,
    messages.BATCH: a_batch(),
    messages.DRAINED: {"run": "r1", "worker": "w", "last": 3},
    messages.END: None,
}


def test_every_message_that_workers_send_gets_through(runner: Runner) -> None:
    assert VALID.keys() == FROM_WORKERS.keys()
    for kind, data in VALID.items():
        assert send(runner, kind, data), kind
    assert send(runner, "theirs", {"whatever": 1})
    assert not runner.filter.dropped.counts  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", [kind for kind in VALID if kind not in {"client_ready", "locustfile"}])
def test_a_stranger_reaches_nothing_but_the_door(runner: Runner, kind: str) -> None:
    assert not send(runner, kind, VALID[kind], sender="stranger")
    assert not send(runner, kind, VALID[kind], sender="stranger", name="w")  # in a worker's name
    assert not send(runner, kind, VALID[kind], sender="v", name="w")  # a worker in another's


@pytest.mark.parametrize("kind", [messages.BATCH, messages.DRAINED, "logs"])
def test_no_worker_speaks_for_another(runner: Runner, kind: str) -> None:
    assert not send(runner, kind, VALID[kind], sender="v")


def changed(at: tuple[Any, ...], value: Any) -> Callable[[], Batch]:
    def make() -> Batch:
        batch = a_batch()
        place: Any = batch
        for key in at[:-1]:
            place = place[key]
        place[at[-1]] = value
        return batch

    return make


SKETCH = next(n for n, window in enumerate(VALID[messages.BATCH]["windows"]) if "sketch" in window)
COUNT = next(n for n, window in enumerate(VALID[messages.BATCH]["windows"]) if "count" in window)
NESTED: Any = []
for _ in range(500):
    NESTED = [NESTED]


def without(at: tuple[Any, ...]) -> Callable[[], Batch]:
    def make() -> Batch:
        batch = a_batch()
        place: Any = batch
        for key in at[:-1]:
            place = place[key]
        del place[at[-1]]
        return batch

    return make


DAMAGED: dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "a list": list,
    "no number": without(("number",)),
    "a text as number": changed(("number",), "1"),
    "a negative number": changed(("number",), -1),
    "a truth as number": changed(("number",), True),
    "an unknown key": changed(("more",), 1),
    "nested rows": changed(("rows",), NESTED),
    "a row too short": changed(("rows", 0), [1, 2]),
    "a text as time": changed(("rows", 0, COLUMN["due"]), "now"),
    "a time that is no number": changed(("rows", 0, COLUMN["due"]), math.nan),
    "an endless time": changed(("rows", 0, COLUMN["end"]), math.inf),
    "a time beyond all": changed(("rows", 0, COLUMN["end"]), 1e300),
    "no end": changed(("rows", 0, COLUMN["end"]), None),
    "too many tokens": changed(("rows", 0, COLUMN["tokens_out"]), 2**64 - 1),
    "negative tokens": changed(("rows", 0, COLUMN["tokens_out"]), -5),
    "an invented outcome": changed(("rows", 0, COLUMN["outcome"]), "splendid"),
    "another's reply": changed(("rows", 0, COLUMN["reply_id"]), "v:1"),
    "another's row": changed(("rows", 0, COLUMN["worker"]), "v"),
    "another's user": changed(("rows", 0, COLUMN["user"]), "v:1"),
    "another's gap": changed(("gaps", 0, 0), "v:1"),
    "a window without seconds": without(("windows", SKETCH, "seconds")),
    "a window of a year": changed(("windows", SKETCH, "seconds"), 31_536_000),
    "a window of nothing": without(("windows", SKETCH, "sketch")),
    "a metric of its own": changed(("windows", COUNT, "metric"), "salary"),
    "a metric of its own of a kind": changed(("windows", COUNT, "metric"), "salary/chat"),
    "started of text": changed(("started_by_kind",), {"chat": "9"}),
    "a count of text": changed(("windows", COUNT, "count"), "9"),
    "a sketch of text": changed(("windows", SKETCH, "sketch"), "bins"),
    "a bin beyond all": changed(("windows", SKETCH, "sketch", "bins"), {"99999": 1}),
    "a bin that is no number": changed(("windows", SKETCH, "sketch", "bins"), {"x": 1}),
    "a sketch without a minimum": changed(("windows", SKETCH, "sketch", "min"), None),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_batch_is_dropped(runner: Runner, name: str) -> None:
    assert not send(runner, messages.BATCH, DAMAGED[name]())
    assert runner.filter.dropped.counts.total() == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("heartbeat", {"state": "running"}),
        ("heartbeat", {"state": "splendid", "current_cpu_usage": 1}),
        ("heartbeat", {"state": "running", "current_cpu_usage": "much"}),
        ("stats", {"stats": 1}),
        ("stats", {**STATS, "user_classes_count": {"ChatUser": "many"}}),
        ("stats", {**STATS, "user_classes_count": {"ChatUser": 10**18}}),
        ("spawning_complete", None),
        ("client_ready", {"version": 1}),
        ("locustfile", None),
        ("exception", {"msg": 1, "traceback": None}),
        (messages.PONG, {**PONG, "t": "then"}),
        (messages.PONG, {**PONG, "host": "h" * 1000}),
        (messages.PONG, {}),
        (messages.DRAINED, {"run": "r1", "worker": "w", "last": "never"}),
        ("probe_unheard_of", None),
        (None, None),
        (["list"], None),
        (locust_frames.UNUSABLE, "cannot be decoded"),
    ],
)
def test_malformed_messages_are_dropped_counted_and_named_once(
    runner: Runner, kind: Any, data: Any, caplog: pytest.LogCaptureFixture
) -> None:
    if not isinstance(kind, str):  # the frames' layer turns these into unusable ones
        kind = locust_frames.decode(msgpack.dumps((kind, data, "w")), "w").type
    assert not send(runner, kind, data)
    assert not send(runner, kind, data)
    assert runner.filter.dropped.counts.total() == 2  # type: ignore[attr-defined]
    assert caplog.text.count("dropped a message") == 1


@pytest.mark.parametrize("sender", ["", "a b", "../x", "x\x1b[31m", "n" * 300, "a/b", "\u202e"])
def test_an_id_that_could_become_a_path_or_a_command_is_refused(runner: Runner, sender: str) -> None:
    assert not send(runner, "client_ready", "2.47.0", sender=sender)


def test_an_error_of_a_handler_does_not_reach_the_listener(runner: Runner) -> None:
    assert send(runner, "theirs", "raise")


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        b"\x91" * 2_000_000,
        msgpack.dumps([1, 2]),
        msgpack.dumps(["a", "b", "c", "d"]),
        msgpack.dumps(("a", b"\xff\xfe", "c"), use_bin_type=False),
        msgpack.dumps(("a", {"__datetime__": True, "as_str": "never"}, "c")),
        msgpack.dumps(("a", {"__ObjectId__": True, "as_str": "x"}, "c")),
        msgpack.dumps(("a", 1, "c")) + b"more",
        b"\xc1",
        b"\xd4\x7f",
    ],
)
def test_no_frame_raises(frame: bytes) -> None:
    assert locust_frames.decode(frame, "w").type == locust_frames.UNUSABLE


def test_a_worker_drops_what_no_master_sends() -> None:
    arrived: list[str] = []
    runner: Any = SimpleNamespace(handle_message=lambda message: arrived.append(message.type))
    guard = WorkerFilter(runner)
    begin = {"run": "r", "origin": 1.0, "directory": "d", "longest": 1.0, "deadlines": None}
    stream: dict[str, Any] = {"give_up_of": {"chat": 2.0}, "kinds": {}, "segments": []}
    valid = {
        messages.PING: {"t": 1.0, "version": "1", "key": True},
        messages.BEGIN: begin,
        messages.ARRIVALS: {"run": "r", "form": "poisson", "seed": 1, "give_up": 10.0, **stream},
        messages.ACK: {"run": "r", "number": 1, "kept": True},
        messages.DRAIN: {"run": "r", "limit": 3.0, "again": False},
    }
    assert valid.keys() == FROM_MASTER.keys()
    for kind, data in valid.items():
        runner.handle_message(Message(kind, data, "w"))
        runner.handle_message(Message(kind, {**data, "run": 5, "t": "x"}, "w"))
        runner.handle_message(Message(kind, None, "w"))
    assert arrived == list(valid)
    assert guard.dropped.counts["has an invalid content"] == 2 * len(valid)


def test_pongs_that_answer_no_ping_do_not_move_a_clock(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    world.sleep(1.0)
    worker = swarm.coordinator.workers.known["w0"]
    for t in (world.now + 1000, world.now - 1000, 1e9, -1e9):
        message = Message(messages.PONG, {**PONG, "t": t, "clock": "other", "host": "evil\x1b[31m"}, "w0")
        swarm.master.heard[messages.PONG](environment=None, msg=message)
    assert worker.same_clock
    assert "\x1b" not in worker.host


def test_a_host_name_is_text(world: World, tmp_path: Path) -> None:
    swarm = Swarm(world, Wire(world), tmp_path, workers=1)
    message = Message(messages.PONG, {**PONG, "t": world.now, "host": "evil\x1b[31m\u202egnp.exe"}, "w0")
    swarm.master.heard[messages.PONG](environment=None, msg=message)
    assert swarm.coordinator.workers.known["w0"].host == "evil [31m gnp.exe"


def test_nobody_gets_users_for_saying_that_it_is_ready(runner: Any) -> None:
    """Locust would move users to it at once, and its replies would be missing from the run."""
    assert not send(runner, "client_ready", "2.47.0", sender="new")
    assert runner.sent == [("ack", "new")]
    assert not send(runner, "stats", STATS, sender="new")
    assert not send(runner, "quit", sender="new")
    assert runner.filter.dropped.counts == {}  # a worker of ours says these too, before it is admitted
    for kind, data in ((messages.HELLO, None), (messages.PONG, PONG)):
        runner.custom_messages[kind] = 1
        assert send(runner, kind, data, sender="new")
        assert not send(runner, kind, data, sender="other")
    runner.filter.admit("other")
    assert "client_ready" not in runner.arrived
    runner.filter.admit("new")
    runner.filter.admit("new")
    assert runner.arrived.count("client_ready") == 1


def test_the_lobby_is_bounded() -> None:
    lobby = Lobby()
    for n in range(100_000):
        lobby.hold(f"n{n}", n)
    assert lobby.release("n0") is None
    assert lobby.release("n99999") == 99_999
    assert len(lobby.turn(0)) <= 1000
    for _ in range(100):
        lobby.turn(0)
    assert "n99998" not in lobby


def test_before_a_run_only_a_worker_itself_leaves(runner: Any) -> None:
    """The master's own handling of `quit` before a run comes after the check, whoever it names."""
    made: Any = Runner()
    made.clients = {"w": 1, "v": 1}
    outlive_workers(made, lambda: False)
    made.filter = MasterFilter(made, lambda worker: worker in made.clients)
    for sender, name in (("stranger", "w"), ("v", "w"), ("stranger", "stranger")):
        made.handle_message(sender, Message("quit", None, name))
    assert set(made.clients) == {"w", "v"}
    made.handle_message("w", Message("quit", None, "w"))
    assert set(made.clients) == {"v"}


@pytest.mark.untraced
def test_every_wrong_type_and_size_in_every_place_of_every_message(runner: Any) -> None:
    """A member gets through with what is in shape and its own; a stranger, or a member in another's name, never."""
    for kind, data in wrong_messages.valid("r1", "w").items():
        assert send(runner, kind, data), kind
    for kind, data in wrong_messages.wrong("r1", "w"):
        assert not send(runner, kind, data, sender="v", name="w")
        if kind not in {"client_ready", "locustfile"}:
            assert not send(runner, kind, data, sender="stranger")
        if send(runner, kind, data):
            assert FROM_WORKERS[kind](data)
    assert sum(1 for _ in wrong_messages.refused("r1", "w")) > 3000
