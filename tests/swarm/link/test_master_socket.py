"""What a stranger can make the master keep is bounded, and the workers are heard all the same."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import zmq.green as zmq
from gevent import socket as gevent_socket

from probe_ext.exit_codes import ExitCode
from probe_ext.swarm.link import locust_frames, master_socket, zmtp
from probe_ext.swarm.link.master_socket import MAX_STRANGER_MESSAGE_BYTES, MasterSocket
from probe_ext.swarm.link.peer_networks import network_of

MEMBERS = {"w1", "w2"}
MIB = 1024 * 1024


@pytest.fixture
def master() -> Iterator[MasterSocket]:
    made = MasterSocket("127.0.0.1", 0, MEMBERS.__contains__)
    yield made
    made.close()


class Peer:
    """A peer that writes each byte itself."""

    def __init__(self, master: MasterSocket, name: bytes = b"stranger", source: str = "127.0.0.1") -> None:
        self.sock: Any = gevent_socket.create_connection(("127.0.0.1", master.port), 20, (source, 0))
        self.sock.sendall(zmtp.GREETING)
        self.send_ready(name)

    def send_ready(self, name: bytes) -> None:
        body = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity" + len(name).to_bytes(4, "big") + name
        self.sock.sendall(b"\x06" + len(body).to_bytes(8, "big") + body)

    def shaken(self) -> "Peer":
        """Wait for the master's part of the handshake, which it sends before it decides whether to keep the peer."""
        left = len(zmtp.GREETING + zmtp.ready())
        while left:
            left -= len(self.sock.recv(left))
        return self

    def send(self, message: bytes) -> None:
        self.sock.sendall(zmtp.framed(message))

    def read(self) -> bytes:
        return bytes(self.sock.recv(1000))

    def is_refused(self) -> bool:
        try:
            return not self.read()
        except ConnectionError:
            return True


def until(what: Callable[[], bool]) -> None:
    with gevent.Timeout(120):
        while not what():
            gevent.sleep(0.01)


def heard(master: MasterSocket) -> tuple[str, bytes | None]:
    with gevent.Timeout(120):
        return master.receive()


def zeromq(master: MasterSocket, name: bytes) -> Any:
    peer = zmq.Context.instance().socket(zmq.DEALER)
    peer.setsockopt(zmq.IDENTITY, name)
    peer.setsockopt(zmq.LINGER, 0)
    peer.connect(f"tcp://127.0.0.1:{master.port}")
    return peer


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_536, 3_000_000])
def test_zeromq_sockets_talk_to_it(master: MasterSocket, size: int) -> None:
    peer = zeromq(master, b"w1")
    with gevent.Timeout(120):
        peer.send(b"x" * size)
        assert master.receive() == ("w1", b"x" * size)
        master.send("w1", b"y" * size)
        assert peer.recv() == b"y" * size
    peer.close()
    until(lambda: not master._open)
    master.send("w1", b"into the void")


def test_a_message_of_endless_parts_ends_its_connection_at_the_first(master: MasterSocket) -> None:
    peer = Peer(master, b"w1").shaken()
    peer.sock.sendall(b"\x03" + (1000).to_bytes(8, "big") + bytes(1000))
    assert heard(master) == ("w1", None)
    assert peer.is_refused()


@pytest.mark.parametrize("name", [b"w1", b"stranger"])
def test_a_taken_name_gets_no_second_connection(master: MasterSocket, name: bytes) -> None:
    first = Peer(master, name).shaken()
    first.send(b"first")
    assert heard(master) == (name.decode(), b"first")
    for _ in range(3):
        assert Peer(master, name).shaken().is_refused()
    first.send(b"still here")
    assert heard(master) == (name.decode(), b"still here")
    first.sock.close()
    until(lambda: not master._open)
    again = Peer(master, name).shaken()
    again.send(b"back")
    assert heard(master) == (name.decode(), b"back")


def test_with_a_token_whoever_has_not_proven_it_holds_no_name() -> None:
    master = MasterSocket("127.0.0.1", 0, None)
    squatter = Peer(master, b"w1").shaken()
    squatter.send(b"mine")
    assert heard(master) == ("w1", b"mine")
    worker = Peer(master, b"w1").shaken()
    assert squatter.is_refused()
    worker.send(b"proof")
    assert heard(master) == ("w1", b"proof")
    master.trust("w1")
    assert Peer(master, b"w1").shaken().is_refused()
    worker.send(bytes(MIB))
    assert heard(master) == ("w1", bytes(MIB))
    master.close()


def test_a_stranger_sends_small_messages_only_and_goes_on(master: MasterSocket) -> None:
    peer = Peer(master)
    for size in (MAX_STRANGER_MESSAGE_BYTES, MAX_STRANGER_MESSAGE_BYTES + 1, 5 * MIB):
        gevent.spawn(peer.send, b"x" * size)
        name, message = heard(master)
        assert name == "stranger"
        assert message == (b"x" * size if size <= MAX_STRANGER_MESSAGE_BYTES else None)
    assert all(len(connection._buffer) <= 2 * 65_536 for connection in master._open)
    peer.send(b"small")
    assert heard(master) == ("stranger", b"small")


def test_nobody_sends_more_than_the_limit(master: MasterSocket) -> None:
    peer = Peer(master, b"w1").shaken()
    peer.sock.sendall(b"\x02" + (2**63).to_bytes(8, "big") + b"x")
    assert heard(master) == ("w1", None)
    assert peer.is_refused()


def test_one_message_at_a_time_is_taken_from_each_peer(master: MasterSocket) -> None:
    """What a peer sends while nobody reads stays in the network's buffers."""
    peers = [Peer(master, f"p{n}".encode()).shaken() for n in range(30)]
    for peer in peers:
        for _ in range(20):
            peer.send(bytes(1000))
    gevent.sleep(0.2)
    assert master._unread.qsize() <= 16
    assert sum(len(connection._buffer) for connection in master._open) <= 30 * 65_536 + 30 * 1000
    assert sum(heard(master) == (f"p{n % 30}", bytes(1000)) or True for n in range(600)) == 600


@pytest.mark.parametrize(
    "start",
    [
        *(b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\xff" * 64, zmtp.GREETING[:10] + b"\x02" + zmtp.GREETING[11:]),
        zmtp.GREETING[:12] + b"CURVE".ljust(20, b"\0") + bytes(32),
        zmtp.GREETING + b"\x00\x05READY",
        zmtp.GREETING + b"\x06" + (2**40).to_bytes(8, "big"),
        zmtp.GREETING + b"\x04\x06\x05READ!",
        zmtp.GREETING + b"\x04\x0d\x05READY\x08Identi",
        zmtp.GREETING + b"\x04\x13\x05READY\x08Identity\xff\xff\xff\xff",
        zmtp.GREETING + b"\x04\x06\x05READY",
        zmtp.GREETING + b"\x04\x15\x05READY\x08Identity\0\0\0\x02\xff\xff",
    ],
)
def test_whoever_does_not_speak_the_protocol_is_disconnected(master: MasterSocket, start: bytes) -> None:
    sock: Any = gevent_socket.create_connection(("127.0.0.1", master.port), 20)
    sock.sendall(start)
    with gevent.Timeout(120):
        while True:
            try:
                if not sock.recv(1000):
                    break
            except ConnectionError:
                break
    assert master._named == {}
    assert master._unread.empty()


def test_names_of_any_length_are_refused(master: MasterSocket) -> None:
    for name in (b"", b"x" * 256, b"x" * 10_000):
        assert Peer(master, name).is_refused() or not master._named
    until(lambda: not master._open)
    assert master._named == {}


def test_a_handshake_has_a_deadline(monkeypatch: pytest.MonkeyPatch, master: MasterSocket) -> None:
    monkeypatch.setattr(master_socket, "HANDSHAKE_TIMEOUT_S", 0.2)
    sock: Any = gevent_socket.create_connection(("127.0.0.1", master.port), 20)

    def drip() -> None:
        for byte in zmtp.GREETING * 1000:
            sock.sendall(bytes((byte,)))
            gevent.sleep(0.01)

    with gevent.Timeout(120), pytest.raises(ConnectionError):
        drip()
    assert not master._open


def test_strangers_make_room_for_one_another_and_workers_for_nobody(
    monkeypatch: pytest.MonkeyPatch, master: MasterSocket
) -> None:
    """The network with the most connections loses its oldest."""
    monkeypatch.setattr(master_socket, "MAX_STRANGERS", 10)
    workers = [Peer(master, name.encode()).shaken() for name in MEMBERS]
    quiet = [Peer(master, b"q%d" % n, "127.0.0.2").shaken() for n in range(3)]
    flood = [Peer(master, b"f%d" % n, "127.0.0.3").shaken() for n in range(30)]
    until(lambda: len(master._open) <= 12)
    assert {connection.network for connection in master._open} == {"127.0.0.1", "127.0.0.2", "127.0.0.3"}
    assert flood[0].is_refused()
    for peer in [*workers, *quiet, flood[-1]]:
        peer.send(b"still here")
    assert sorted(heard(master)[0] for _ in range(6)) == sorted([*MEMBERS, "q0", "q1", "q2", "f29"])


def test_strangers_that_talk_all_the_time_do_not_delay_a_worker(master: MasterSocket) -> None:
    def talk(peer: Peer) -> None:
        while True:
            peer.send(bytes(MAX_STRANGER_MESSAGE_BYTES))

    talkers = [gevent.spawn(talk, Peer(master, b"s%d" % n).shaken()) for n in range(20)]
    worker = Peer(master, b"w1").shaken()
    for n in range(20):
        worker.send(b"%d" % n)
        others = 0
        while (said := heard(master)) != ("w1", b"%d" % n):
            others += said[0] != "w1"
        assert others <= 200
    gevent.killall(talkers)


def test_a_peer_that_does_not_read_is_not_kept_waiting_for(master: MasterSocket) -> None:
    peer = Peer(master)
    peer.send(b"here")
    assert heard(master) == ("stranger", b"here")
    for _ in range(1000):
        master.send("stranger", bytes(100_000))
        gevent.sleep(0)
    (connection,) = master._open
    assert connection._unsent_bytes <= 256 * 1024


def test_it_listens_where_it_is_told_and_says_why_it_cannot() -> None:
    everywhere = MasterSocket("*", 0, None)
    for host in ("127.0.0.1", *(["::1"] if socket.has_dualstack_ipv6() else [])):
        socket.create_connection((host, everywhere.port)).close()
    with pytest.raises(OSError, match="in use"):
        MasterSocket("127.0.0.1", everywhere.port, None)
    everywhere.close()
    with pytest.raises(OSError, match=r"address|refused"):
        MasterSocket("192.0.2.1", 0, None)
    local = MasterSocket("127.0.0.1", everywhere.port, None)  # the port is free again
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", local.port))
    local.close()


def test_a_network_is_what_one_host_may_have() -> None:
    assert network_of("10.0.0.1") == network_of("::ffff:10.0.0.1") == "10.0.0.1"
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:0:1::1")
    assert network_of(None) == ""


@pytest.mark.parametrize(
    ("host", "why"), [("127.0.0.1", "Address already in use"), ("192.0.2.1", "address"), ("no.such.host.invalid", "")]
)
def test_a_master_that_cannot_listen_ends_with_one_line(
    host: str, why: str, master: MasterSocket, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit) as end:
        locust_frames.Server(host, master.port)
    assert end.value.code == ExitCode.USAGE
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the master cannot listen on {host}:{master.port}: ")
    assert why in record.getMessage()
    assert "attempting" not in record.getMessage()
