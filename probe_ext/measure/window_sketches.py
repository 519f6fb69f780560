"""Sketches and counts by window of time and metric.

A worker keeps one book and sends snapshots of the windows that changed; the master keeps the latest snapshot of
each (worker, metric, window). Windows only grow, so the fuller snapshot is the later one: one that comes twice, late or
in place of a lost one changes nothing.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from probe_ext.measure.sketch import LatencySketch

SKETCH_SECONDS = 5
"""length of a sketch's window"""
COUNT_SECONDS = 1
"""length of a count's window"""

_AT_ONCE = 1000
"""durations that are sketched together: a fraction of a millisecond"""

Key = tuple[str, int]
"""metric and window number: the window covers [number·length, (number+1)·length) seconds of the run"""


class Book:
    """What one process measured, by window."""

    def __init__(self) -> None:
        self._sketches: dict[Key, LatencySketch] = {}
        self._fresh: dict[tuple[tuple[str, ...], int], list[float]] = {}
        """durations by metrics and window that no sketch has yet: many at once cost half as much"""
        self._counts: dict[Key, int] = {}
        self._changed: set[Key] = set()

    def add(self, metric: str, t: float, values: Iterable[float]) -> None:
        """Sketch durations, in seconds, that were observed at second `t` of the run."""
        self._put((metric,), int(t // SKETCH_SECONDS), values)

    def add_all(self, metrics: Sequence[str], times: Sequence[float], values: Sequence[float], origin: float) -> None:
        """Sketch durations, each in the window of its own moment; `times` rise, and `origin` is the run's zero."""
        for window, start, end in _stretches(times, origin, SKETCH_SECONDS):
            self._put(tuple(metrics), window, values[start:end])

    def _put(self, metrics: tuple[str, ...], window: int, values: Iterable[float]) -> None:
        fresh = self._fresh.setdefault((metrics, window), [])
        fresh.extend(values)
        if len(fresh) >= _AT_ONCE:
            self._sketch(metrics, window)

    def _sketch(self, metrics: tuple[str, ...], window: int) -> None:
        """Put what is fresh of these metrics into their sketches."""
        sketch = LatencySketch()
        sketch.add(self._fresh.pop((metrics, window)))
        for key in ((metric, window) for metric in metrics):
            self._sketches.setdefault(key, LatencySketch()).merge(sketch)
            self._changed.add(key)

    def _sketch_all(self) -> None:
        for metrics, window in list(self._fresh):
            self._sketch(metrics, window)

    def count_all(self, metric: str, times: Sequence[float], totals: Sequence[int], origin: float) -> None:
        """Count at each of `times` what `totals`, the count up to and with each, has grown by."""
        before = 0
        for window, _, end in _stretches(times, origin, COUNT_SECONDS):
            if totals[end - 1] != before:
                self.count(metric, window * COUNT_SECONDS, totals[end - 1] - before)
            before = totals[end - 1]

    def count(self, metric: str, t: float, n: int) -> None:
        """Count `n` things at second `t` of the run."""
        key = (metric, int(t // COUNT_SECONDS))
        self._counts[key] = self._counts.get(key, 0) + n
        self._changed.add(key)

    def changes(self) -> list[dict[str, Any]]:
        """Whole snapshots of the windows that changed since the last call."""
        self._sketch_all()
        changed, self._changed = self._changed, set()
        return [self._wire(key) for key in sorted(changed)]

    def forget(self, before: float) -> None:
        """Drop the windows that ended before this second of the run: their snapshots are told, nothing comes after."""
        self._sketch_all()
        for windows, seconds in ((self._sketches, SKETCH_SECONDS), (self._counts, COUNT_SECONDS)):
            for key in [key for key in windows if (key[1] + 1) * seconds < before and key not in self._changed]:
                del windows[key]

    def _wire(self, key: Key) -> dict[str, Any]:
        metric, window = key
        if key in self._counts:
            start = window * COUNT_SECONDS
            return {"metric": metric, "start": start, "seconds": COUNT_SECONDS, "count": self._counts[key]}
        start = window * SKETCH_SECONDS
        sketch = self._sketches[key].to_wire()
        return {"metric": metric, "start": start, "seconds": SKETCH_SECONDS, "sketch": sketch}


def _stretches(times: Sequence[float], origin: float, length: int) -> Iterator[tuple[int, int, int]]:
    """Runs of rising moments that lie in one window: its number, where the run starts, and where the next does."""
    start = 0
    while start < len(times):
        window = int((times[start] - origin) // length)
        end = bisect_left(times, (window + 1) * length + origin, lo=start + 1)
        yield window, start, end
        start = end


class MasterBook:
    """The fullest snapshot of each window of each worker."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str, int], dict[str, Any]] = {}
        self._workers: dict[tuple[str, int], set[str]] = defaultdict(set)
        """who told of each window"""
        self._changed: set[tuple[str, int]] = set()
        self._sealed_before = -math.inf
        """second of the run: windows that ended before it are put away"""

    def absorb(self, worker: str, snapshots: Iterable[dict[str, Any]]) -> None:
        """Take what a worker says of these windows, unless more is known: messages may overtake one another."""
        for snapshot in snapshots:
            key = (worker, snapshot["metric"], snapshot["start"])
            if snapshot["start"] + SKETCH_SECONDS < self._sealed_before:
                continue
            if key not in self._latest or _size(snapshot) >= _size(self._latest[key]):
                self._latest[key] = snapshot
                self._workers[key[1:]].add(worker)
                self._changed.add(key[1:])

    def lines(self) -> Iterator[dict[str, Any]]:
        """One record a metric and window, all workers together: what `sketches.jsonl` holds, without what is sealed."""
        yield from self._records(self._workers)

    def seal(self, before: float) -> list[dict[str, Any]]:
        """Take out the windows that ended before this second of the run: what comes for them later is not taken."""
        ended = [w for w in self._workers if w not in self._changed and w[1] + SKETCH_SECONDS < before]
        records = list(self._records(ended))
        for window in ended:
            for worker in self._workers.pop(window):
                del self._latest[worker, *window]
        self._sealed_before = max(self._sealed_before, before)
        return records

    def news(self) -> list[dict[str, Any]]:
        """The records that changed since the last call, each whole: of two for one window the later holds."""
        changed, self._changed = self._changed, set()
        return list(self._records(changed))

    def restore(self, records: Iterable[dict[str, Any]]) -> None:
        """These news reached nobody: they are news again."""
        self._changed.update((record["metric"], record["start"]) for record in records)

    def _records(self, windows: Iterable[tuple[str, int]]) -> Iterator[dict[str, Any]]:
        for window in sorted(windows):
            yield _merged([self._latest[worker, *window] for worker in sorted(self._workers[window])])


def _size(snapshot: dict[str, Any]) -> int:
    """How many things a snapshot has counted."""
    if "count" in snapshot:
        return int(snapshot["count"])
    return int(snapshot["sketch"]["low"] + sum(snapshot["sketch"]["bins"].values()))


def _merged(snapshots: list[dict[str, Any]]) -> dict[str, Any]:
    merged = {key: snapshots[0][key] for key in ("metric", "start", "seconds")}
    if "count" in snapshots[0]:
        return {**merged, "count": sum(s["count"] for s in snapshots)}
    sketch = LatencySketch()
    for snapshot in snapshots:
        sketch.merge(LatencySketch.from_wire(snapshot["sketch"]))
    return {**merged, "sketch": sketch.to_wire()}
