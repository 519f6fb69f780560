"""Sketches and counts per metric and time window.

Each worker fills WindowSketches and sends snapshots of the windows that changed. The master keeps the fullest snapshot
per worker, metric and window. Windows only grow, so a fuller snapshot is a later one, and snapshots that arrive twice
or out of order change nothing.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from probe_ext.measure.sketch import LatencySketch

SKETCH_SECONDS = 5
"""window length of a sketch"""
COUNT_SECONDS = 1
"""window length of a count"""

KIND_SEPARATOR = "/"
"""`ttft/NAME` is the metric `ttft` of one kind of user: in runs over several servers, each kind asks its own"""

_SKETCH_BATCH_SIZE = 4000
"""durations added to a sketch together, which takes less than a millisecond, and with numpy a third of that"""

_Key = tuple[str, int]
"""metric and window number; window n covers [n × length, (n + 1) × length) seconds of the run"""


class WindowSketches:
    """The windows of one process."""

    def __init__(self) -> None:
        self._sketches: dict[_Key, LatencySketch] = {}
        self._pending: dict[tuple[tuple[str, ...], int], list[float]] = {}
        """durations by metrics and window that are in no sketch yet: adding many at once costs half as much"""
        self._counts: dict[_Key, int] = {}
        self._changed: set[_Key] = set()

    def add(self, metric: str, t: float, values: Iterable[float]) -> None:
        """Add durations (seconds) observed at second `t` of the run."""
        self._add((metric,), int(t // SKETCH_SECONDS), values)

    def add_series(self, metrics: Sequence[str], times: Sequence[float], values: Sequence[float], start: float) -> None:
        """Add durations, each to the window of its own time; `times` must not decrease, `start` is the run's start."""
        for window, first, end in _split_by_window(times, start, SKETCH_SECONDS):
            self._add(tuple(metrics), window, values[first:end])

    def _add(self, metrics: tuple[str, ...], window: int, values: Iterable[float]) -> None:
        pending = self._pending.setdefault((metrics, window), [])
        pending.extend(values)
        if len(pending) >= _SKETCH_BATCH_SIZE:
            self._sketch_pending(metrics, window)

    def _sketch_pending(self, metrics: tuple[str, ...], window: int) -> None:
        sketch = LatencySketch()
        sketch.add(self._pending.pop((metrics, window)))
        for key in ((metric, window) for metric in metrics):
            self._sketches.setdefault(key, LatencySketch()).merge(sketch)
            self._changed.add(key)

    def _sketch_all_pending(self) -> None:
        for metrics, window in list(self._pending):
            self._sketch_pending(metrics, window)

    def count_series(self, metric: str, times: Sequence[float], totals: Sequence[int], start: float) -> None:
        """Count the growth of `totals` (cumulative) at each of `times`."""
        before = 0
        for window, _, end in _split_by_window(times, start, COUNT_SECONDS):
            if totals[end - 1] != before:
                self.count(metric, window * COUNT_SECONDS, totals[end - 1] - before)
            before = totals[end - 1]

    def count(self, metric: str, t: float, n: int) -> None:
        """Add `n` to the count at second `t` of the run."""
        key = (metric, int(t // COUNT_SECONDS))
        self._counts[key] = self._counts.get(key, 0) + n
        self._changed.add(key)

    def take_changes(self) -> list[dict[str, Any]]:
        """Return complete snapshots of the windows that changed since the last call."""
        self._sketch_all_pending()
        changed, self._changed = self._changed, set()
        return [self._snapshot(key) for key in sorted(changed)]

    def drop_before(self, t: float) -> None:
        """Drop windows that ended before second `t` of the run and whose snapshots were taken."""
        self._sketch_all_pending()
        for windows, seconds in ((self._sketches, SKETCH_SECONDS), (self._counts, COUNT_SECONDS)):
            for key in [key for key in windows if (key[1] + 1) * seconds < t and key not in self._changed]:
                del windows[key]

    def _snapshot(self, key: _Key) -> dict[str, Any]:
        metric, window = key
        if key in self._counts:
            start = window * COUNT_SECONDS
            return {"metric": metric, "start": start, "seconds": COUNT_SECONDS, "count": self._counts[key]}
        start = window * SKETCH_SECONDS
        sketch = self._sketches[key].to_wire()
        return {"metric": metric, "start": start, "seconds": SKETCH_SECONDS, "sketch": sketch}


def _split_by_window(times: Sequence[float], start: float, length: int) -> Iterator[tuple[int, int, int]]:
    """Split non-decreasing times by window: window number, index of its first time and of the one after its last."""
    first = 0
    while first < len(times):
        window = int((times[first] - start) // length)
        end = bisect_left(times, (window + 1) * length + start, lo=first + 1)
        yield window, first, end
        first = end


class MergedWindows:
    """The windows of all workers, on the master."""

    def __init__(self) -> None:
        self._fullest: dict[tuple[str, str, int], dict[str, Any]] = {}
        self._workers: dict[tuple[str, int], set[str]] = defaultdict(set)
        """workers that sent a snapshot, per metric and window start"""
        self._changed: set[tuple[str, int]] = set()
        self._finalized_before = -math.inf
        """second of the run; windows that ended before it are final"""
        self._final = defaultdict[str, LatencySketch](LatencySketch)
        """of all final windows, per metric"""
        self._totals: dict[tuple[str, int], LatencySketch] = {}
        """of all workers in a window that is not final, as `total` last merged it: windows are many, and few change"""

    def merge(self, worker: str, snapshots: Iterable[dict[str, Any]]) -> None:
        """Merge a worker's snapshots, unless a fuller one is known or the window is final."""
        for snapshot in snapshots:
            key = (worker, snapshot["metric"], snapshot["start"])
            if snapshot["start"] + SKETCH_SECONDS < self._finalized_before:
                continue
            if key not in self._fullest or _size(snapshot) >= _size(self._fullest[key]):
                self._fullest[key] = snapshot
                self._workers[key[1:]].add(worker)
                self._changed.add(key[1:])
                self._totals.pop(key[1:], None)

    def records(self) -> Iterator[dict[str, Any]]:
        """Return one record per metric and window, merged over workers, except final windows: see `sketches.jsonl`."""
        yield from self._records(self._workers)

    def finalize(self, before: float) -> list[dict[str, Any]]:
        """Remove and return the records of windows that ended before this second of the run; they accept no more."""
        ended = [w for w in self._workers if w not in self._changed and w[1] + SKETCH_SECONDS < before]
        records = list(self._records(ended))
        for window in ended:
            self._totals.pop(window, None)
            for worker in self._workers.pop(window):
                del self._fullest[worker, *window]
        for record in records:
            if "sketch" in record:
                self._final[record["metric"]].merge(LatencySketch.from_wire(record["sketch"]))
        self._finalized_before = max(self._finalized_before, before)
        return records

    def total(self, metric: str) -> LatencySketch:
        """Return all values of a metric so far."""
        total = LatencySketch()
        total.merge(self._final[metric])
        for window in self._workers:
            if window[0] != metric:
                continue
            if window not in self._totals:
                self._totals[window] = _merged_sketch(self._snapshots(window))
            total.merge(self._totals[window])
        return total

    def take_changes(self) -> list[dict[str, Any]]:
        """Return the complete records that changed since the last call; a later record replaces an earlier one."""
        changed, self._changed = self._changed, set()
        return list(self._records(changed))

    def return_changes(self, records: Iterable[dict[str, Any]]) -> None:
        """Mark records as changed again after they could not be delivered."""
        self._changed.update((record["metric"], record["start"]) for record in records)

    def _records(self, windows: Iterable[tuple[str, int]]) -> Iterator[dict[str, Any]]:
        for window in sorted(windows):
            yield _merged(self._snapshots(window))

    def _snapshots(self, window: tuple[str, int]) -> list[dict[str, Any]]:
        return [self._fullest[worker, *window] for worker in sorted(self._workers[window])]


def _size(snapshot: dict[str, Any]) -> int:
    """Return the number of observations in a snapshot."""
    if "count" in snapshot:
        return int(snapshot["count"])
    return int(snapshot["sketch"]["low"] + sum(snapshot["sketch"]["bins"].values()))


def _merged(snapshots: list[dict[str, Any]]) -> dict[str, Any]:
    merged = {key: snapshots[0][key] for key in ("metric", "start", "seconds")}
    if "count" in snapshots[0]:
        return {**merged, "count": sum(s["count"] for s in snapshots)}
    return {**merged, "sketch": _merged_sketch(snapshots).to_wire()}


def _merged_sketch(snapshots: Iterable[dict[str, Any]]) -> LatencySketch:
    sketch = LatencySketch()
    for snapshot in snapshots:
        sketch.merge(LatencySketch.from_wire(snapshot["sketch"]))
    return sketch
