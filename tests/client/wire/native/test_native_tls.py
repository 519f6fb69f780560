"""TLS records lead to the same plaintext, in the same reads, natively and by Python, however the wire is cut."""

import ctypes
import random
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded_replies import STREAMS, events_of, recorded, shortened
from scripted_server import Peer, ScriptedServer
from test_matched_runs import CHUNKED, END, chunk

from probe_ext.client.wire.address import parse_target
from probe_ext.client.wire.connection import Connection
from probe_ext.client.wire.native import native_extension
from probe_ext.client.wire.native.native_arrivals import arrivals_of
from probe_ext.client.wire.native.native_extension import NATIVE, reading_path
from probe_ext.client.wire.tls import TlsSession
from probe_ext.tls_trust import TlsSettings, client_context

native = native_extension.reader_module()
pytestmark = pytest.mark.skipif(reading_path(tls=True) != NATIVE, reason=f"NOT CHECKED: {reading_path(tls=True)}")
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
TARGET = parse_target("https://localhost")


class Server:
    """The server's side of a connection without a socket."""

    def __init__(self, certificate: Path, version: ssl.TLSVersion) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.minimum_version = context.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls, self._ssl = native.capture_tls(
            lambda: context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        )

    def call(self, function: str, *more: int) -> int:
        """Call a function of OpenSSL that Python has no name for, on this server's SSL."""
        openssl = ctypes.CDLL(native_extension._ssl.__file__)
        pointer = ctypes.c_void_p(self._ssl)
        result: int = openssl[function](pointer, *more)
        return result

    def connect(self) -> TlsSession:
        """Return a client that has shaken hands; what the server sent after that is still in `outgoing`."""
        session = TlsSession(client_context(TlsSettings(insecure=True)), TARGET)
        done = {"client": False, "server": False}
        while not all(done.values()):
            done["client"] = done["client"] or session.handshake()
            self.incoming.write(session.to_wire())
            with suppress(ssl.SSLWantReadError):
                done["server"] = self.tls.do_handshake() is None
            if not done["client"]:
                session.feed(self.outgoing.read())
        return session


@dataclass
class Wire:
    """What a server sends: its records, and what is done to their bytes."""

    plain: Sequence[bytes]
    end: str = ""
    between: Callable[[Server], None] = lambda _: None
    spoil: Callable[[bytearray], None] = lambda _: None

    def bytes_of(self, server: Server) -> bytes:
        for part in self.plain:
            server.tls.write(part)
            self.between(server)
        if self.end == "close_notify":
            with pytest.raises(ssl.SSLWantReadError):
                server.tls.unwrap()
        wire = bytearray(server.outgoing.read())
        self.spoil(wire)
        return bytes(wire)


def cuts_of(rng: random.Random, size: int) -> list[int]:
    mean = rng.choice([1, 5, 40, 400, 4000, 30000])
    cuts, at = [0], 0
    while at < size:
        at = min(size, at + rng.randrange(1, min(2 * mean, 32768) + 1))
        cuts.append(at)
    return cuts


def slices(wire: bytes, cuts: Sequence[int]) -> list[bytes]:
    return [wire[a:b] for a, b in zip(cuts, [*cuts[1:], len(wire)], strict=True) if wire[a:b]]


def read_by_python(session: TlsSession, reads: Sequence[bytes]) -> tuple[list[bytes], Any]:
    """Return the plaintext of each read that has any, and how it ended."""
    plain = []
    for data in reads:
        plain.append(session.decrypt(data))
        if session.ended:
            break
    failure = session.failure
    return [data for data in plain if data], (session.ended, failure and (failure.library, failure.reason))


def read_natively(session: TlsSession, reads: Sequence[bytes], *, framed: bool) -> tuple[Any, Any]:
    """Return what the extension hands over, and how it ended."""
    stream = native.Reader().open(-1, 0.0, framed, session.native)
    for number, data in enumerate(reads):
        stream.feed(data, number + 1.0)
    *columns, _, ended, _, error, code, _ = stream.take()
    assert not error
    failure = native_extension.tls_error(code) if code else None
    return arrivals_of(*columns), (bool(ended), failure and (failure.library, failure.reason))


@pytest.fixture(scope="module")
def servers(certificate: Path) -> Callable[[ssl.TLSVersion], Server]:
    return lambda version: Server(certificate, version)


def compare(make: Callable[[], Server], wire: Wire, seed: int, *, at_end: bool) -> tuple[list[bytes], Any]:
    """Check that both paths read the same; return it. `at_end`: the connection is closed after these bytes."""
    results: list[Any] = []
    for way in ("python", "native"):
        server = make()
        session = server.connect()
        sent = wire.bytes_of(server)
        reads = slices(sent, cuts_of(random.Random(seed), len(sent))) + [b""] * at_end
        if way == "python":
            results.append(read_by_python(session, reads))
        else:
            arrived, end = read_natively(session, reads, framed=False)
            results.append(([data for part in arrived.parts for data in part.data], end))
    assert results[0] == results[1]
    return results[0]


@given(st.sampled_from(VERSIONS), st.lists(st.binary(min_size=1, max_size=60000), max_size=6), st.integers(0, 2**32))
def test_any_records_under_any_cuts(servers: Any, version: ssl.TLSVersion, plain: list[bytes], seed: int) -> None:
    rng = random.Random(seed)
    wire = Wire(plain, rng.choice(["", "close_notify"]))
    read, (ended, failure) = compare(lambda: servers(version), wire, seed, at_end=rng.random() < 0.5)
    assert b"".join(read) == b"".join(plain)
    assert failure is None
    assert ended or wire.end == ""


def cut_short(wire: bytearray) -> None:
    del wire[len(wire) * 2 // 3 :]


def flip(wire: bytearray) -> None:
    wire[-1] ^= 1


def replace(wire: bytearray) -> None:
    wire += b"these bytes are certainly not a TLS record"


def alert(wire: bytearray) -> None:
    wire += b"\x15\x03\x03\x00\x02\x02\x28"  # fatal, handshake failure; not encrypted


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("spoil", [cut_short, flip, replace, alert])
@pytest.mark.parametrize("at_end", [False, True])
def test_broken_records_end_the_stream_alike(servers: Any, version: ssl.TLSVersion, spoil: Any, at_end: bool) -> None:
    wire = Wire([b"one", b"two" * 1000, b"three"], spoil=spoil)
    for seed in range(6):
        read, (ended, failure) = compare(lambda: servers(version), wire, seed, at_end=at_end)
        assert b"".join(read).startswith(b"one" + b"two" * (1000 if spoil is not cut_short else 0))
        assert ended is (at_end or spoil is not cut_short)
        assert bool(failure) is (spoil is not cut_short)


def update_keys(server: Server) -> None:
    assert server.call("SSL_key_update", 1) == 1  # asks for an update in return, which goes out with the next request


def ask_to_renegotiate(server: Server) -> None:
    assert server.call("SSL_renegotiate") == 1
    server.call("SSL_do_handshake")


@pytest.mark.parametrize(("version", "change"), [(VERSIONS[1], update_keys), (VERSIONS[0], ask_to_renegotiate)])
def test_keys_may_change_in_mid_stream(servers: Any, version: ssl.TLSVersion, change: Any) -> None:
    wire = Wire([b"one", b"two", b"three"], between=change)
    for seed in range(6):
        read, end = compare(lambda: servers(version), wire, seed, at_end=False)
        assert (b"".join(read), end) == (b"onetwothree", (False, None))


def test_python_reads_where_keys_are_logged(
    servers: Any, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL logs new keys through Python while it reads, which would wait for a thread that waits for this one."""
    log = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    server = servers(VERSIONS[1])
    session = server.connect()
    assert session.native is None
    before = log.read_text().count("\n")
    server.tls.write(b"one")
    update_keys(server)
    server.tls.write(b"two")
    assert read_by_python(session, [server.outgoing.read()])[0] == [b"onetwo"]
    assert log.read_text().count("\n") > before
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ScriptedServer(Peer.hold, tls=context) as scripted:
        target = parse_target(f"https://localhost:{scripted.port}")
        connection = Connection(target, client_context(TlsSettings(insecure=True)))
        connection.open(10.0)
        assert connection.reading_path == "python: TLS: its keys are logged"
        connection.close()


def test_nothing_is_read_after_close_notify(servers: Any) -> None:
    wire = Wire([b"last"], "close_notify", spoil=lambda sent: sent.extend(b"\x17\x03\x03\x00\x05extra"))
    read, end = compare(lambda: servers(VERSIONS[1]), wire, 3, at_end=False)
    assert (read, end) == ([b"last"], (True, None))


def test_the_request_after_a_reply_can_be_read_by_the_server(servers: Any) -> None:
    """Python writes, the extension reads, in turn on one SSL object."""
    server = servers(VERSIONS[1])
    session = server.connect()
    for number in range(5):
        server.incoming.write(session.encrypt(b"request %d" % number))
        assert server.tls.read(100) == b"request %d" % number
        server.tls.write(b"reply %d" % number)
        arrived, _ = read_natively(session, [server.outgoing.read()], framed=False)
        assert [data for part in arrived.parts for data in part.data] == [b"reply %d" % number]


@given(st.sampled_from(STREAMS), st.integers(0, 2**32))
def test_events_are_matched_in_the_plaintext_of_each_read(servers: Any, name: str, seed: int) -> None:
    """As if its plaintext had come in the reads that Python makes of it."""
    wire = Wire([CHUNKED, *map(chunk, events_of(shortened(recorded(name)[1]))), END])
    results = []
    for over_tls in (True, False):
        server = servers(VERSIONS[1])
        session = server.connect()
        sent = wire.bytes_of(server)
        reads = slices(sent, cuts_of(random.Random(seed), len(sent)))
        if over_tls:
            arrived, _ = read_natively(session, reads, framed=True)
            results.append([part._replace(at=None) for part in arrived.parts])
        else:
            plain, _ = read_by_python(session, reads)
            stream = native.Reader().open(-1, 0.0, True)
            for number, data in enumerate(plain):
                stream.feed(data, number + 1.0)
            results.append([part._replace(at=None) for part in arrivals_of(*stream.take()[:6]).parts])
    assert results[0] == results[1]


def test_a_handle_keeps_its_ssl_object_alive(servers: Any) -> None:
    server = servers(VERSIONS[1])
    session = server.connect()
    server.tls.write(b"later")
    sent, handle = server.outgoing.read(), session.native
    stream = native.Reader().open(-1, 0.0, False, handle)
    del session, handle
    stream.feed(sent, 1.0)
    (part,) = arrivals_of(*stream.take()[:6]).parts
    assert part.data == [b"later"]


def test_only_a_handle_is_taken_for_one() -> None:
    with pytest.raises(TypeError):
        native.Reader().open(-1, 0.0, False, object())
    assert native.capture_tls(lambda: 1) == (1, 0)
    with pytest.raises(ZeroDivisionError):
        native.capture_tls(lambda: 1 // 0)


@pytest.fixture
def _fresh() -> Iterator[None]:
    native_extension._tls_problem.cache_clear()
    yield
    native_extension._tls_problem.cache_clear()


@pytest.mark.usefixtures("_fresh")
@pytest.mark.parametrize(
    ("owner", "name", "value", "why"),
    [
        (ssl, "OPENSSL_VERSION_INFO", (4, 0, 0, 0, 0), "is not supported"),
        (native_extension._ssl, "__file__", "/no/such/library.so", "is not a shared library"),
        (native_extension._ssl, "__file__", native.__file__ if native else "", "is not a shared library"),
    ],
)
def test_without_a_known_openssl_python_reads(
    monkeypatch: pytest.MonkeyPatch, servers: Any, owner: Any, name: str, value: Any, why: str
) -> None:
    monkeypatch.setattr(owner, name, value)
    assert reading_path(tls=True).startswith("python: TLS: ")
    assert reading_path(tls=True).endswith(why)
    assert reading_path() == NATIVE
    assert servers(VERSIONS[1]).connect().native is None


@pytest.mark.usefixtures("_fresh")
def test_another_openssl_than_pythons_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    module = native_extension._load()[0]

    class Deaf:
        load_openssl = module.load_openssl

        @staticmethod
        def capture_tls(make: Callable[[], Any]) -> tuple[Any, int]:
            return make(), 0

    monkeypatch.setattr(native_extension, "_load", lambda: (Deaf, None))
    assert reading_path(tls=True) == "python: TLS: not Python's OpenSSL"
