"""Receive times: where they are had, and what is done where they are not."""

import socket
import struct

import pytest

from probe_ext.client import receive
from probe_ext.client.receive import MAX_LAG, Read, ask_for_stamps, read_plain, read_stamped


class Socket:
    """Gives one message with this ancillary data."""

    def __init__(self, *stamps: tuple[int, int, bytes]) -> None:
        self.stamps = list(stamps)

    def recvmsg(self, size: int, ancillary: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        assert ancillary >= 16
        return b"data", self.stamps, 0, None


def stamp(seconds: int, nanoseconds: int) -> tuple[int, int, bytes]:
    return (socket.SOL_SOCKET, 35, struct.pack("@qq", seconds, nanoseconds))


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is second 50 of this machine and second 1000 of the world."""
    monkeypatch.setattr(receive.clock, "both", lambda: (50.0, 1000 * 10**9))


def read(*stamps: tuple[int, int, bytes]) -> Read:
    return read_stamped(Socket(*stamps))  # type: ignore[arg-type]


def test_a_stamp_is_moved_onto_our_axis_by_the_lag_that_it_shows() -> None:
    assert read(stamp(999, 750_000_000)) == (b"data", 49.75, 0.25)


def test_without_a_stamp_the_time_is_that_of_the_read_and_there_is_no_lag() -> None:
    assert read() == (b"data", 50.0, None)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(stamp(1000, 1), id="a stamp from the future"),
        pytest.param(stamp(1000 - int(MAX_LAG) - 1, 0), id="a stamp from long ago"),
        pytest.param((socket.SOL_SOCKET, 99, struct.pack("@qq", 999, 0)), id="another message"),
        pytest.param((socket.SOL_SOCKET, 35, b"short"), id="a message of another size"),
        pytest.param((socket.IPPROTO_IP, 35, struct.pack("@qq", 999, 0)), id="another level"),
    ],
)
def test_a_stamp_that_cannot_be_one_is_none(other: tuple[int, int, bytes]) -> None:
    assert read(other) == (b"data", 50.0, None)


def test_where_the_platform_has_no_stamps_none_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        monkeypatch.setattr(receive.sys, "platform", "darwin")
        assert not ask_for_stamps(sock)
        monkeypatch.setattr(receive.sys, "platform", "linux")
        monkeypatch.setattr(receive, "_OPTION", 99_999)
        assert not ask_for_stamps(sock)


def test_a_plain_read_has_the_time_of_the_read() -> None:
    one, other = socket.socketpair()
    with one, other:
        other.send(b"hello")
        found = read_plain(one)
    assert (found[0], found[2]) == (b"hello", None)
    assert found[1] > 0
