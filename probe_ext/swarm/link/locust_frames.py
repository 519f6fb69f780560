"""Send and receive Locust's messages so that no peer can stop a listener, whatever it sends.

Locust's own listener ends with the first frame that msgpack cannot decode (a nested array, an odd timestamp), and with
it the run. After a frame that it recognises as damaged, it handles the message before it once more. So `install`
replaces the master's socket (`master_socket.py`) and what workers' sockets do, before Locust makes one: frames are
limited in size and decoded without raising, and with a token (PROBE_SWARM_TOKEN) they are sealed. What cannot be used
becomes a message of type UNUSABLE, which the message filters drop.
"""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from locust.exception import RPCError, RPCSendError
from locust.rpc import zmqrpc
from locust.rpc.protocol import Message

from probe_ext.exit_codes import ExitCode
from probe_ext.settings.secrets import SWARM_TOKEN_VARIABLE, swarm_token
from probe_ext.swarm.link.master_socket import MAX_MESSAGE_BYTES, MasterSocket
from probe_ext.swarm.link.seals import Kind, MasterSeals, WorkerSeals, frame_of, kind_of

logger = logging.getLogger(__name__)

UNUSABLE = "probe_unusable"

is_member: Callable[[str], bool] = lambda worker: False  # noqa: E731 - replaced by the master's message filter
on_mismatch: Callable[[str], None] = logger.error
"""called on a worker with why it and the master cannot work together; `probe worker` exits then"""


def watch_members(predicate: Callable[[str], bool]) -> None:
    """Set which workers may send large frames, and speak without pauses."""
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


def _takes_part(worker: str) -> bool:
    return is_member(worker)  # as it is by then: the filter is made after the socket


class Server:
    """In place of Locust's server; a new one has new seals, so workers prove the token again.

    Ends the process, with one line, if it cannot listen.
    """

    def __init__(self, host: str, port: int) -> None:
        token = swarm_token()
        self._seals = MasterSeals(token) if token else None
        try:
            self._socket = MasterSocket(host, port, None if token else _takes_part)
        except OSError as error:
            number = error.errno or 0
            why = os.strerror(number) if number > 0 else error.strerror  # of a name that is not known, it is negative
            logger.critical("the master cannot listen on %s:%s: %s", host, port, why)
            sys.exit(ExitCode.USAGE)
        self.port = self._socket.port

    def send_to_client(self, message: Any) -> None:
        """Send a message to a worker."""
        frame = message.serialize()
        sealed = self._seals.seal(message.node_id, frame) if self._seals else frame
        if sealed is not None:
            self._socket.send(message.node_id, sealed)

    def recv_from_client(self) -> tuple[str, Any]:
        """Wait for a message that may be handled; return the worker and the message."""
        while True:
            worker, frame = self._socket.receive()
            if self._seals:
                frame = self._unsealed(self._seals, worker, frame or b"")
            elif frame is None:
                return worker, Message(UNUSABLE, "is too large or has several parts", worker)
            elif kind_of(frame) is not None:
                _warn_once("a worker (%.80r) has a %s, this master has none; more of these are not logged", worker)
                self._socket.send(worker, frame_of(Kind.REFUSAL))
                continue
            if frame is not None:
                return worker, decode(frame, worker)

    def _unsealed(self, seals: MasterSeals, worker: str, frame: bytes) -> bytes | None:
        """Return what a worker with the token says. A proof is checked and answered, too."""
        plain, answer = seals.receive(worker, frame)
        if plain is not None or (answer is not None and kind_of(answer) is Kind.PROOF):
            self._socket.trust(worker)
        if answer is not None:
            if kind_of(answer) is Kind.REFUSAL:
                _warn_once("a worker (%.80r) was refused: its %s differs; more of these are not logged", worker)
            self._socket.send(worker, answer)
        return plain

    def close(self, linger: int | None = None) -> None:
        """Close the port and all connections."""
        self._socket.close()


def _seals(client: Any) -> WorkerSeals | None:
    seals: WorkerSeals | None = client.probe_seals
    return seals


def _client_send(client: Any, message: Any) -> None:
    seals, frame = _seals(client), message.serialize()
    _send(client.socket.send, seals.seal(frame) if seals else frame, zmqrpc.zmq.NOBLOCK)


def _client_receive(client: Any) -> Any:
    while True:
        frame = _receive(client.socket.recv)
        kind, seals = kind_of(frame), _seals(client)
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


def _connected(make: Callable[..., None]) -> Callable[..., None]:
    """Give a worker's socket its seals, and limit the size of what it accepts."""

    def make_connected(client: Any, host: str, port: int, identity: str) -> None:
        token = swarm_token()
        client.probe_seals = WorkerSeals(token, identity) if token else None
        make(client, host, port, identity)
        client.socket.setsockopt(zmqrpc.zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)

    return make_connected


def install() -> None:
    """Replace Locust's sockets; once per process."""
    if zmqrpc.Server is Server:
        return
    zmqrpc.Server = Server
    zmqrpc.Client.__init__ = _connected(zmqrpc.Client.__init__)
    zmqrpc.Client.send = _client_send
    zmqrpc.Client.recv = _client_receive
