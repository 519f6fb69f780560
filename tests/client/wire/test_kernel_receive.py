"""Receive times, from kernel stamps and without them."""

import socket
import struct
import sys

import pytest

from probe_ext.client.wire import kernel_receive
from probe_ext.client.wire.kernel_receive import (
    MAX_LAG_S,
    Arrivals,
    arrivals,
    begin_round,
    enable_timestamps,
    read_plain,
    read_stamped,
    received_segments,
)
from probe_ext.client.wire.portable_switch import PORTABLE_VARIABLE


class Socket:
    """Returns one message with this ancillary data."""

    def __init__(self, *stamps: tuple[int, int, bytes]) -> None:
        self.stamps = list(stamps)

    def recvmsg(self, size: int, ancillary: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        assert ancillary >= 16
        return b"data", self.stamps, 0, None


def stamp(seconds: int, nanoseconds: int) -> tuple[int, int, bytes]:
    return (socket.SOL_SOCKET, 35, struct.pack("@qq", seconds, nanoseconds))


@pytest.fixture(autouse=True)
def _fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fix monotonic time at 50 s and wall time at 1000 s."""
    monkeypatch.setattr(kernel_receive.clock, "read_clock_pair", lambda: (50.0, 1000 * 10**9))
    monkeypatch.setattr(kernel_receive.clock, "monotonic", lambda: 50.0)


def read(*stamps: tuple[int, int, bytes]) -> tuple[bytes, float, float | None]:
    return single(arrivals([*read_stamped(Socket(*stamps), begin_round())], 0.0))  # type: ignore[arg-type]


def single(result: Arrivals) -> tuple[bytes, float, float | None]:
    """Return bytes, arrival time and lag of a single read."""
    return result.data[0], result.at[0], result.lags[0] if result.lags else None


def test_converts_a_stamp_to_monotonic_time() -> None:
    assert read(stamp(999, 750_000_000)) == (b"data", 49.75, 0.25)


def test_without_a_stamp_uses_the_time_of_the_read() -> None:
    assert read() == (b"data", 50.0, None)


def test_a_stamp_slightly_after_the_read_means_the_time_of_the_read() -> None:
    assert read(stamp(1000, 10_000)) == (b"data", 50.0, 0.0)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(stamp(1000, 100_000), id="a stamp from the future"),
        pytest.param(stamp(1000 - int(MAX_LAG_S) - 1, 0), id="a stamp from long ago"),
        pytest.param((socket.SOL_SOCKET, 99, struct.pack("@qq", 999, 0)), id="another message"),
        pytest.param((socket.SOL_SOCKET, 35, b"short"), id="a message of another size"),
        pytest.param((socket.IPPROTO_IP, 35, struct.pack("@qq", 999, 0)), id="another level"),
    ],
)
def test_ignores_invalid_stamps(other: tuple[int, int, bytes]) -> None:
    assert read(other) == (b"data", 50.0, None)


def test_does_not_enable_timestamps_where_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(sys, "platform", "darwin")
            assert not enable_timestamps(sock)
            assert received_segments(sock) is None
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv(PORTABLE_VARIABLE, "1")
            assert not enable_timestamps(sock)
            assert received_segments(sock) is None
        monkeypatch.setattr(kernel_receive, "_SO_TIMESTAMPNS", 99_999)
        assert not enable_timestamps(sock)


def test_a_plain_read_has_the_time_of_the_read() -> None:
    one, other = socket.socketpair()
    with one, other:
        other.send(b"hello")
        result = single(arrivals([*read_plain(one, begin_round())], 0.0))
    assert result == (b"hello", 50.0, None)


def test_the_lag_of_a_plain_read_is_how_late_the_thread_was() -> None:
    one, other = socket.socketpair()
    with one, other:
        other.send(b"hello")
        result = arrivals([*read_plain(one, begin_round(late=0.004))], 0.0)
    assert (result.at, result.lags, result.overdue) == ([50.0], [0.004], [0.004])


def test_an_invalid_stamp_has_no_lag_of_the_thread() -> None:
    odd = read_stamped(Socket(stamp(1, 0)), begin_round(late=0.004))  # type: ignore[arg-type]
    assert arrivals([*odd], 0.0).lags == []


def test_reads_convert_together_as_one_by_one() -> None:
    stamps = [stamp(999, 5_000_000 * n) for n in range(1, 20)]
    reads = [read_stamped(Socket(one), begin_round()) for one in stamps]  # type: ignore[arg-type]
    together = arrivals([item for one in reads for item in one], 0.0)
    alone = [single(arrivals([*one], 0.0)) for one in reads]
    assert list(zip(together.data, together.at, together.lags, strict=True)) == alone


def test_times_never_decrease_and_empty_reads_are_left_out() -> None:
    moments = [stamp(999, 700_000_000), stamp(999, 600_000_000), stamp(999, 800_000_000)]
    reads = [read_stamped(Socket(one), begin_round()) for one in moments]  # type: ignore[arg-type]
    assert arrivals([item for one in reads for item in one], 49.65).at == [49.7, 49.7, 49.8]
    ended = arrivals([*reads[0], b"", b"", 50.0, (0, 0.0, 0.0, None)], 49.75)
    assert (ended.data, ended.at, len(ended.lags)) == ([b"data"], [49.75], 1)
    assert arrivals([], 3.0) == Arrivals([], [], [], [])


@pytest.mark.parametrize(
    ("arrived", "wait", "overdue"),
    [
        pytest.param(49.99, (0.0, 0.0), 0.010, id="no wait: all of the lag"),
        pytest.param(49.99, (49.985, 49.998), 0.002, id="arrived during the wait: since its end"),
        pytest.param(49.98, (49.985, 49.998), 0.007, id="arrived before the wait: before and after it"),
        pytest.param(49.999, (49.985, 49.998), 0.001, id="arrived after the wait: all of the lag"),
    ],
)
def test_an_intended_wait_is_not_overdue(arrived: float, wait: tuple[float, float], overdue: float) -> None:
    """All are read at 50.0 s."""
    good, odd = stamp(950 + int(arrived), round(arrived % 1 * 1e9)), stamp(1000 - int(MAX_LAG_S) - 1, 0)
    for stamps in ([good], [good, odd]):  # an invalid stamp makes them convert one by one
        reads = [read_stamped(Socket(one), begin_round(*wait)) for one in stamps]  # type: ignore[arg-type]
        result = arrivals([item for one in reads for item in one], 0.0)
        assert result.lags == [pytest.approx(50 - arrived)]
        assert result.overdue == [pytest.approx(overdue)]
