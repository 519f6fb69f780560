"""Receive times: where they are had, and what is done where they are not."""

import socket
import struct

import pytest

from probe_ext.client import kernel_receive
from probe_ext.client.kernel_receive import (
    MAX_LAG,
    Arrivals,
    arrivals,
    ask_for_stamps,
    begin_round,
    read_plain,
    read_stamped,
)


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
    monkeypatch.setattr(kernel_receive.clock, "both", lambda: (50.0, 1000 * 10**9))
    monkeypatch.setattr(kernel_receive.clock, "monotonic", lambda: 50.0)


def read(*stamps: tuple[int, int, bytes]) -> tuple[bytes, float, float | None]:
    return told(arrivals([*read_stamped(Socket(*stamps), begin_round())], 0.0))  # type: ignore[arg-type]


def told(found: Arrivals) -> tuple[bytes, float, float | None]:
    """Of a lone read: its bytes, when they came, and its lag."""
    return found.data[0], found.at[0], found.lags[0] if found.lags else None


def test_a_stamp_is_moved_onto_our_axis_by_the_lag_that_it_shows() -> None:
    assert read(stamp(999, 750_000_000)) == (b"data", 49.75, 0.25)


def test_without_a_stamp_the_time_is_that_of_the_read_and_there_is_no_lag() -> None:
    assert read() == (b"data", 50.0, None)


def test_a_stamp_later_than_the_read_by_less_than_the_clocks_are_read_apart_is_one_of_the_read() -> None:
    assert read(stamp(1000, 10_000)) == (b"data", 50.0, 0.0)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(stamp(1000, 100_000), id="a stamp from the future"),
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
        monkeypatch.setattr(kernel_receive.sys, "platform", "darwin")
        assert not ask_for_stamps(sock)
        monkeypatch.setattr(kernel_receive.sys, "platform", "linux")
        monkeypatch.setattr(kernel_receive, "_OPTION", 99_999)
        assert not ask_for_stamps(sock)


def test_a_plain_read_has_the_time_of_the_read() -> None:
    one, other = socket.socketpair()
    with one, other:
        other.send(b"hello")
        found = told(arrivals([*read_plain(one, begin_round())], 0.0))
    assert found == (b"hello", 50.0, None)


def test_many_reads_are_placed_as_each_by_itself_would_be() -> None:
    stamps = [stamp(999, 5_000_000 * n) for n in range(1, 20)]
    reads = [read_stamped(Socket(one), begin_round()) for one in stamps]  # type: ignore[arg-type]
    together = arrivals([item for one in reads for item in one], 0.0)
    alone = [told(arrivals([*one], 0.0)) for one in reads]
    assert list(zip(together.data, together.at, together.lags, strict=True)) == alone


def test_nothing_comes_before_what_came_before_it_and_what_is_empty_brings_nothing() -> None:
    moments = [stamp(999, 700_000_000), stamp(999, 600_000_000), stamp(999, 800_000_000)]
    reads = [read_stamped(Socket(one), begin_round()) for one in moments]  # type: ignore[arg-type]
    assert arrivals([item for one in reads for item in one], 49.65).at == [49.7, 49.7, 49.8]
    ended = arrivals([*reads[0], b"", b"", 50.0, (0, 0.0, 0.0)], 49.75)
    assert (ended.data, ended.at, len(ended.lags)) == ([b"data"], [49.75], 1)
    assert arrivals([], 3.0) == Arrivals([], [], [], [])


@pytest.mark.parametrize(
    ("came", "waited", "overdue"),
    [
        pytest.param(49.99, (0.0, 0.0), 0.010, id="nothing was waited for: all of the lag"),
        pytest.param(49.99, (49.985, 49.998), 0.002, id="it came while others were waited for: since then"),
        pytest.param(49.98, (49.985, 49.998), 0.007, id="it had lain there before: that, and since then"),
        pytest.param(49.999, (49.985, 49.998), 0.001, id="it came when the wait was over: all of the lag"),
    ],
)
def test_what_is_waited_on_purpose_is_not_overdue(came: float, waited: tuple[float, float], overdue: float) -> None:
    """Read at 50.0."""
    good, odd = stamp(950 + int(came), round(came % 1 * 1e9)), stamp(1000 - int(MAX_LAG) - 1, 0)
    for stamps in ([good], [good, odd]):  # with a stamp that cannot be one beside it, each is placed by itself
        reads = [read_stamped(Socket(one), begin_round(*waited)) for one in stamps]  # type: ignore[arg-type]
        found = arrivals([item for one in reads for item in one], 0.0)
        assert found.lags == [pytest.approx(50 - came)]
        assert found.overdue == [pytest.approx(overdue)]
