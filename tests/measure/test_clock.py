"""Time formats, and pairs of clock readings."""

import time
from collections.abc import Iterator

import pytest

from probe_ext.measure import clock


def test_utc_text_is_iso_8601_with_milliseconds() -> None:
    assert clock.utc_text(0.0) == "1970-01-01T00:00:00.000Z"
    assert clock.utc_text(1795214602.25) == "2026-11-20T22:43:22.250Z"


def test_utc_compact_sorts_by_time_and_fits_file_names() -> None:
    texts = [clock.utc_compact(t) for t in (0.0, 59.9, 86399.0, 1795214602.9)]
    assert texts[-1] == "20261120T224322Z"
    assert texts == sorted(texts)
    assert all(text.isalnum() for text in texts)


def test_monotonic_is_never_stepped() -> None:
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    ours, after = clock.monotonic(), time.clock_gettime(time.CLOCK_MONOTONIC)
    assert before <= ours <= after
    assert time.get_clock_info("monotonic").adjustable is False


def test_reads_both_clocks_at_the_same_moment() -> None:
    monotonic, wall = clock.read_clock_pair()
    later_monotonic, later_wall = clock.read_clock_pair()
    assert later_monotonic >= monotonic
    assert later_wall - wall == pytest.approx((later_monotonic - monotonic) * 1e9, abs=50e6)


def test_repeats_readings_that_are_far_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monotonic: Iterator[float] = iter([1.0, 1.5, 2.0, 2.0000005])
    wall: Iterator[int] = iter([100, 200])
    monkeypatch.setattr(clock.time, "monotonic", lambda: next(monotonic))
    monkeypatch.setattr(clock.time, "time_ns", lambda: next(wall))
    assert clock.read_clock_pair() == (2.0000005, 200)


def test_uses_the_later_reading_if_no_pair_is_close(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monotonic = iter(float(k) for k in range(100))
    monkeypatch.setattr(clock.time, "monotonic", lambda: next(monotonic))
    monkeypatch.setattr(clock.time, "time_ns", lambda: 7)
    after, wall = clock.read_clock_pair()
    assert wall == 7
    assert after % 2 == 1  # the second reading of a pair


def test_cpu_time_grows_with_work_not_with_sleep() -> None:
    start = clock.cpu()
    time.sleep(0.05)
    slept = clock.cpu() - start
    while clock.cpu() - start < slept + 0.02:
        sum(range(1000))
    assert clock.cpu() - start > slept
