"""Send and receive frames on Locust's sockets so that no peer can stop a listener, whatever it sends.

Locust's own listener ends with the first frame that msgpack cannot decode (a nested array, an odd timestamp), and with
it the run. After a frame that it recognises as damaged, it handles the message before it once more. So `install`
replaces the four methods that send and receive, on the class, before Locust makes a socket: frames are limited in size
and decoded without raising, and with a token (PROBE_SWARM_TOKEN) they are sealed. What cannot be used becomes a message
of type UNUSABLE, which the message filters drop.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from locust.exception import RPCError, RPCSendError
from locust.rpc import zmqrpc
from locust.rpc.protocol import Message

from probe_ext.settings.secrets import SWARM_TOKEN_VARIABLE, swarm_token
from probe_ext.swarm.link.seals import Kind, MasterSeals, WorkerSeals, frame_of, kind_of

logger = logging.getLogger(__name__)

MAX_FRAME_BYTES = 32 * 1024 * 1024  # a worker's batch stays below 10 MiB even with thousands of half-hour replies
MAX_STRANGER_FRAME_BYTES = 16 * 1024  # a small frame may decode to 60 times its size
UNUSABLE = "probe_unusable"

is_member: Callable[[str], bool] = lambda worker: False  # noqa: E731 - replaced by the master's message filter
on_mismatch: Callable[[str], None] = logger.error
"""called on a worker with why it and the master cannot work together; `probe worker` exits then"""


def watch_members(predicate: Callable[[str], bool]) -> None:
    """Set which workers may send large frames."""
    global is_member  # noqa: PLW0603 - Locust's sockets belong to the process, and so does this
    is_member = predicate


def watch_mismatch(handler: Callable[[str], None]) -> None:
    """Set what a worker does if its token and the master's differ."""
    global on_mismatch  # noqa: PLW0603 - as above
    on_mismatch = handler


def decode(frame: bytes, worker: str) -> Any:
    """Return the message in a frame, or one of type UNUSABLE that says what is wrong with it."""
    try:
        message = Message.unserialize(frame)
    except Exception:  # msgpack, UTF-8, dates, a wrong number of fields: whatever a peer can provoke
        return Message(UNUSABLE, "cannot be decoded", worker)
    return message if isinstance(message.type, str) else Message(UNUSABLE, "has no type", worker)


def _warn_once(text: str, worker: str) -> None:
    """Log what any peer can cause as often as it likes."""
    if text not in _warned:
        _warned.add(text)
        logger.warning(text, worker, SWARM_TOKEN_VARIABLE)


_warned: set[str] = set()


class _Seals:
    """Seals of a socket, made when it is first used: reset sockets prove the token again."""

    @staticmethod
    def of_master(server: Any) -> MasterSeals | None:
        if not hasattr(server, "probe_seals"):
            token = swarm_token()
            server.probe_seals = MasterSeals(token) if token else None
        seals: MasterSeals | None = server.probe_seals
        return seals

    @staticmethod
    def of_worker(client: Any) -> WorkerSeals | None:
        seals: WorkerSeals | None = client.probe_seals
        return seals


def _send_to_client(server: Any, message: Any) -> None:
    seals, frame = _Seals.of_master(server), message.serialize()
    sealed = seals.seal(message.node_id, frame) if seals else frame
    if sealed is not None:
        _send(server.socket.send_multipart, [message.node_id.encode(), sealed])


def _receive_from_client(server: Any) -> tuple[str, Any]:
    while True:
        parts = _receive(server.socket.recv_multipart)
        try:
            worker = parts[0].decode()
        except UnicodeDecodeError:
            continue  # no worker of ours: nothing to answer
        if seals := _Seals.of_master(server):
            frame, answer = seals.receive(worker, parts[-1])
            if answer is not None:
                if kind_of(answer) is Kind.REFUSAL:
                    _warn_once("a worker (%.80r) was refused: its %s differs; more of these are not logged", worker)
                with suppress(zmqrpc.zmqerr.ZMQError):
                    server.socket.send_multipart([parts[0], answer])
            if frame is None:
                continue
        elif kind_of(parts[-1]) is not None:
            _warn_once("a worker (%.80r) has a %s, this master has none; more of these are not logged", worker)
            with suppress(zmqrpc.zmqerr.ZMQError):
                server.socket.send_multipart([parts[0], frame_of(Kind.REFUSAL)])
            continue
        elif len(parts[-1]) > MAX_STRANGER_FRAME_BYTES and not is_member(worker):
            return worker, Message(UNUSABLE, "is too large for a stranger", worker)
        else:
            frame = parts[-1]
        return worker, decode(frame, worker)


def _client_send(client: Any, message: Any) -> None:
    seals, frame = _Seals.of_worker(client), message.serialize()
    _send(client.socket.send, seals.seal(frame) if seals else frame, zmqrpc.zmq.NOBLOCK)


def _client_receive(client: Any) -> Any:
    while True:
        frame = _receive(client.socket.recv)
        kind, seals = kind_of(frame), _Seals.of_worker(client)
        if seals is None and kind is Kind.CHALLENGE:
            on_mismatch(f"the master requires a token; set {SWARM_TOKEN_VARIABLE} to the master's")
        elif seals is None:
            return decode(frame, "")
        elif kind is Kind.REFUSAL:
            on_mismatch(
                f"the master has another token or none; set {SWARM_TOKEN_VARIABLE} to the same value on both sides"
            )
        else:
            opened, answers = seals.receive(frame)
            for answer in answers:
                with suppress(zmqrpc.zmqerr.ZMQError):
                    client.socket.send(answer, zmqrpc.zmq.NOBLOCK)
            if opened is not None:
                return decode(opened, "")


@zmqrpc.retry(exception=RPCSendError)
def _send(send: Callable[..., object], *arguments: Any) -> None:
    try:
        send(*arguments)
    except zmqrpc.zmqerr.ZMQError as error:
        raise RPCSendError("ZMQ sent failure") from error


def _receive(receive: Callable[[], Any]) -> Any:
    try:
        return receive()
    except zmqrpc.zmqerr.ZMQError as error:
        raise RPCError("ZMQ network broken") from error


def _limited(make: Callable[..., None]) -> Callable[..., None]:
    """Limit the size of what a socket accepts; ZeroMQ disconnects a peer that exceeds it."""

    def make_limited(sock: Any, *arguments: Any) -> None:
        make(sock, *arguments)
        sock.socket.setsockopt(zmqrpc.zmq.MAXMSGSIZE, MAX_FRAME_BYTES)

    return make_limited


def _identified(make: Callable[..., None]) -> Callable[..., None]:
    """Give a worker's socket its seals."""

    def make_identified(client: Any, host: str, port: int, identity: str) -> None:
        token = swarm_token()
        client.probe_seals = WorkerSeals(token, identity) if token else None
        make(client, host, port, identity)

    return make_identified


def install() -> None:
    """Replace what Locust's sockets do; once per process."""
    if zmqrpc.Server.recv_from_client is _receive_from_client:
        return
    zmqrpc.BaseSocket.__init__ = _limited(zmqrpc.BaseSocket.__init__)
    zmqrpc.Client.__init__ = _identified(zmqrpc.Client.__init__)
    zmqrpc.Server.send_to_client = _send_to_client
    zmqrpc.Server.recv_from_client = _receive_from_client
    zmqrpc.Client.send = _client_send
    zmqrpc.Client.recv = _client_receive
