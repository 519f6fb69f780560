"""Window sketches survive lost, repeated and reordered batches."""

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.measure.sketch import LatencySketch
from probe_ext.measure.window_sketches import COUNT_SECONDS, SKETCH_SECONDS, MergedWindows, WindowSketches


def records_of(*sent: tuple[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    master = MergedWindows()
    for worker, snapshots in sent:
        master.merge(worker, copy.deepcopy(snapshots))
    return list(master.records())


def growing_windows() -> tuple[WindowSketches, list[list[dict[str, Any]]]]:
    """Return sketches and their changes in four batches, between which the same windows grew."""
    sketches, batches = WindowSketches(), []
    for batch in range(4):
        for k in range(6):
            sketches.add("gap", 3.0 + batch, [0.01 * (k + 1), 0.5])
            sketches.count("tokens", 2.0 + 0.5 * batch, 3 + k)
        sketches.add("ttft", 5.0 * batch, [0.2])
        batches.append(sketches.take_changes())
    return sketches, batches


def test_a_window_includes_its_start_and_excludes_its_end() -> None:
    sketches = WindowSketches()
    sketches.count("tokens", 0.999, 1)
    sketches.count("tokens", 1.0, 10)
    sketches.add("gap", 4.999, [0.1])
    sketches.add("gap", 5.0, [0.2, 0.3])
    windows = {(s["metric"], s["start"], s["seconds"]): s for s in sketches.take_changes()}
    assert set(windows) == {
        ("tokens", 0, COUNT_SECONDS),
        ("tokens", 1, COUNT_SECONDS),
        ("gap", 0, SKETCH_SECONDS),
        ("gap", 5, SKETCH_SECONDS),
    }
    assert windows["tokens", 1, COUNT_SECONDS]["count"] == 10
    assert LatencySketch.from_wire(windows["gap", 5, SKETCH_SECONDS]["sketch"]).count == 2


def test_takes_complete_snapshots_of_changed_windows_only() -> None:
    sketches = WindowSketches()
    sketches.count("tokens", 1.0, 4)
    sketches.add("gap", 1.0, [0.1])
    assert len(sketches.take_changes()) == 2
    assert sketches.take_changes() == []
    sketches.count("tokens", 1.5, 2)
    assert [s["count"] for s in sketches.take_changes()] == [6]


def test_snapshots_do_not_change_later() -> None:
    sketches = WindowSketches()
    sketches.add("gap", 1.0, [0.1])
    snapshots = sketches.take_changes()
    before = copy.deepcopy(snapshots)
    sketches.add("gap", 1.0, [0.1, 0.2])
    assert snapshots == before


def test_records_contain_everything_counted() -> None:
    _, batches = growing_windows()
    records = records_of(*[("w1", batch) for batch in batches])
    tokens = {record["start"]: record["count"] for record in records if record["metric"] == "tokens"}
    assert tokens == {2: 2 * sum(3 + k for k in range(6)), 3: 2 * sum(3 + k for k in range(6))}
    gaps = next(record for record in records if record["metric"] == "gap")
    assert LatencySketch.from_wire(gaps["sketch"]).count == 2 * 2 * 6


@pytest.mark.parametrize("seed", range(20))
def test_repeated_and_reordered_batches_change_nothing(seed: int) -> None:
    _, batches = growing_windows()
    truth = records_of(*[("w1", batch) for batch in batches])
    shuffled = [("w1", batch) for batch in batches * 2]
    random.Random(seed).shuffle(shuffled)
    assert records_of(*shuffled) == truth


def test_the_next_batch_of_the_same_windows_replaces_a_lost_one() -> None:
    sketches = WindowSketches()
    sketches.count("tokens", 1.0, 4)
    sketches.add("gap", 1.0, [0.1])
    sketches.take_changes()  # lost
    sketches.count("tokens", 1.0, 1)
    sketches.add("gap", 1.0, [0.3])
    records = records_of(("w1", sketches.take_changes()))
    assert [record.get("count") for record in records] == [None, 5]
    assert LatencySketch.from_wire(records[0]["sketch"]).count == 2


def test_a_missing_last_batch_makes_a_difference() -> None:
    _, batches = growing_windows()
    assert records_of(*[("w1", batch) for batch in batches[:-1]]) != records_of(*[("w1", batch) for batch in batches])


def test_workers_are_summed() -> None:
    one, other = WindowSketches(), WindowSketches()
    one.count("tokens", 7.2, 5)
    other.count("tokens", 7.9, 8)
    one.add("itl", 7.0, [0.01] * 3)
    other.add("itl", 9.0, [0.02] * 4)
    other.add("itl", 11.0, [0.04])
    records = records_of(("w1", one.take_changes()), ("w2", other.take_changes()))
    assert [(record["metric"], record["start"]) for record in records] == [("itl", 5), ("itl", 10), ("tokens", 7)]
    assert records[2]["count"] == 13
    together = LatencySketch.from_wire(records[0]["sketch"])
    assert (together.count, together.minimum, together.maximum) == (7, 0.01, 0.02)


@given(
    st.lists(st.tuples(st.sampled_from(["w1", "w2", "w3"]), st.floats(0, 30), st.floats(0, 5)), min_size=1, max_size=40)
)
def test_records_do_not_depend_on_the_distribution_over_workers(
    seen: list[tuple[str, float, float]],
) -> None:
    alone, by_worker = WindowSketches(), {name: WindowSketches() for name in ("w1", "w2", "w3")}
    for worker, t, value in seen:
        for sketches in (alone, by_worker[worker]):
            sketches.add("gap", t, [value])
            sketches.count("tokens", t, 2)
    many = records_of(*[(name, sketches.take_changes()) for name, sketches in by_worker.items()])
    one = records_of(("w", alone.take_changes()))
    for record in [*many, *one]:
        if "sketch" in record:
            record["sketch"]["sum"] = pytest.approx(record["sketch"]["sum"])
    assert many == one
    assert sum(record.get("count", 0) for record in many) == 2 * len(seen)


def test_records_are_plain_json() -> None:
    _, batches = growing_windows()
    records = records_of(*[("w1", batch) for batch in batches])
    assert records
    assert json.loads(json.dumps(records)) == records


def test_finalized_windows_accept_no_more_snapshots() -> None:
    sketches, master = WindowSketches(), MergedWindows()
    for second in range(0, 100, 5):
        sketches.add("gap", second, [0.01 * (second + 1)])
        sketches.count("tokens", second, 3)
    master.merge("w", sketches.take_changes())
    master.merge("v", [dict(record) for record in _snapshots(sketches)])
    before = list(master.records())
    master.take_changes()
    finalized = master.finalize(50.0)
    assert finalized
    assert sorted(map(str, [*finalized, *master.records()])) == sorted(map(str, before))
    assert min(record["start"] for record in master.records()) >= 50 - SKETCH_SECONDS
    master.merge("w", [{"metric": "tokens", "start": 5, "seconds": 1, "count": 999}])
    assert sorted(map(str, [*finalized, *master.records()])) == sorted(map(str, before))  # too late
    assert master.finalize(50.0) == []
    sketches.drop_before(50.0)
    sketches.count("tokens", 80.5, 1)
    assert [record["count"] for record in sketches.take_changes()] == [4]


def _snapshots(sketches: WindowSketches) -> list[dict[str, Any]]:
    """Return snapshots of all windows."""
    sketches._changed.update(sketches._sketches, sketches._counts)
    return sketches.take_changes()


def test_the_total_of_a_metric_is_that_of_all_windows_final_or_not() -> None:
    windows, merged = WindowSketches(), MergedWindows()
    windows.add("lag", 1.0, [0.1, 0.2])
    windows.add("lag", 100.0, [0.3])
    windows.add("gap", 100.0, [9.0])
    for _ in range(2):
        merged.merge("w1", _snapshots(windows))
    merged.merge("w2", _snapshots(windows))
    for final in (1, 0):
        assert (merged.total("lag").count, merged.total("lag").maximum) == (6, 0.3)
        merged.take_changes()
        assert len(merged.finalize(50.0)) == final
    windows.add("lag", 100.0, [0.4])
    merged.merge("w1", _snapshots(windows))
    assert (merged.total("lag").count, merged.total("lag").maximum) == (7, 0.4)
    assert merged.total("overdue").count == 0
