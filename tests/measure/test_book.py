"""Books: what workers send may be lost, doubled or late, and changes nothing."""

import copy
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.measure.sketch import LatencySketch
from probe_ext.measure.window_sketches import COUNT_SECONDS, SKETCH_SECONDS, Book, MasterBook


def lines_of(*sent: tuple[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    master = MasterBook()
    for worker, snapshots in sent:
        master.absorb(worker, copy.deepcopy(snapshots))
    return list(master.lines())


def a_days_work() -> tuple[Book, list[list[dict[str, Any]]]]:
    """A book, and the changes it told in four batches while the same windows went on growing."""
    book, batches = Book(), []
    for batch in range(4):
        for k in range(6):
            book.add("gap", 3.0 + batch, [0.01 * (k + 1), 0.5])
            book.count("tokens", 2.0 + 0.5 * batch, 3 + k)
        book.add("ttft", 5.0 * batch, [0.2])
        batches.append(book.changes())
    return book, batches


def test_a_window_covers_its_seconds_from_its_start_on() -> None:
    book = Book()
    book.count("tokens", 0.999, 1)
    book.count("tokens", 1.0, 10)
    book.add("gap", 4.999, [0.1])
    book.add("gap", 5.0, [0.2, 0.3])
    found = {(s["metric"], s["start"], s["seconds"]): s for s in book.changes()}
    assert set(found) == {
        ("tokens", 0, COUNT_SECONDS),
        ("tokens", 1, COUNT_SECONDS),
        ("gap", 0, SKETCH_SECONDS),
        ("gap", 5, SKETCH_SECONDS),
    }
    assert found["tokens", 1, COUNT_SECONDS]["count"] == 10
    assert LatencySketch.from_wire(found["gap", 5, SKETCH_SECONDS]["sketch"]).count == 2


def test_only_windows_that_changed_are_told_and_each_as_a_whole() -> None:
    book = Book()
    book.count("tokens", 1.0, 4)
    book.add("gap", 1.0, [0.1])
    assert len(book.changes()) == 2
    assert book.changes() == []
    book.count("tokens", 1.5, 2)
    assert [s["count"] for s in book.changes()] == [6]


def test_a_snapshot_does_not_grow_with_the_book_after_it_was_told() -> None:
    book = Book()
    book.add("gap", 1.0, [0.1])
    told = book.changes()
    before = copy.deepcopy(told)
    book.add("gap", 1.0, [0.1, 0.2])
    assert told == before


def test_the_masters_line_is_all_that_was_counted() -> None:
    _, batches = a_days_work()
    lines = lines_of(*[("w1", batch) for batch in batches])
    tokens = {line["start"]: line["count"] for line in lines if line["metric"] == "tokens"}
    assert tokens == {2: 2 * sum(3 + k for k in range(6)), 3: 2 * sum(3 + k for k in range(6))}
    gaps = next(line for line in lines if line["metric"] == "gap")
    assert LatencySketch.from_wire(gaps["sketch"]).count == 2 * 2 * 6


@pytest.mark.parametrize("seed", range(20))
def test_batches_that_come_twice_or_overtake_one_another_change_nothing(seed: int) -> None:
    _, batches = a_days_work()
    truth = lines_of(*[("w1", batch) for batch in batches])
    shuffled = [("w1", batch) for batch in batches * 2]
    random.Random(seed).shuffle(shuffled)
    assert lines_of(*shuffled) == truth


def test_a_lost_batch_is_made_up_for_by_the_next_that_names_its_windows() -> None:
    book = Book()
    book.count("tokens", 1.0, 4)
    book.add("gap", 1.0, [0.1])
    book.changes()  # lost
    book.count("tokens", 1.0, 1)
    book.add("gap", 1.0, [0.3])
    lines = lines_of(("w1", book.changes()))
    assert [line.get("count") for line in lines] == [None, 5]
    assert LatencySketch.from_wire(lines[0]["sketch"]).count == 2


def test_a_batch_that_is_really_missing_is_seen_to_be_missing() -> None:
    _, batches = a_days_work()
    assert lines_of(*[("w1", batch) for batch in batches[:-1]]) != lines_of(*[("w1", batch) for batch in batches])


def test_workers_are_added_up_and_never_replace_one_another() -> None:
    one, other = Book(), Book()
    one.count("tokens", 7.2, 5)
    other.count("tokens", 7.9, 8)
    one.add("itl", 7.0, [0.01] * 3)
    other.add("itl", 9.0, [0.02] * 4)
    other.add("itl", 11.0, [0.04])
    lines = lines_of(("w1", one.changes()), ("w2", other.changes()))
    assert [(line["metric"], line["start"]) for line in lines] == [("itl", 5), ("itl", 10), ("tokens", 7)]
    assert lines[2]["count"] == 13
    together = LatencySketch.from_wire(lines[0]["sketch"])
    assert (together.count, together.minimum, together.maximum) == (7, 0.01, 0.02)


@given(
    st.lists(st.tuples(st.sampled_from(["w1", "w2", "w3"]), st.floats(0, 30), st.floats(0, 5)), min_size=1, max_size=40)
)
def test_however_values_fall_to_workers_the_lines_are_those_of_one_book(
    seen: list[tuple[str, float, float]],
) -> None:
    alone, books = Book(), {name: Book() for name in ("w1", "w2", "w3")}
    for worker, t, value in seen:
        for book in (alone, books[worker]):
            book.add("gap", t, [value])
            book.count("tokens", t, 2)
    many = lines_of(*[(name, book.changes()) for name, book in books.items()])
    one = lines_of(("w", alone.changes()))
    for line in [*many, *one]:
        if "sketch" in line:
            line["sketch"]["sum"] = pytest.approx(line["sketch"]["sum"])
    assert many == one
    assert sum(line.get("count", 0) for line in many) == 2 * len(seen)


def test_lines_are_plain_json() -> None:
    _, batches = a_days_work()
    lines = lines_of(*[("w1", batch) for batch in batches])
    assert lines
    assert json.loads(json.dumps(lines)) == lines


def test_old_windows_are_put_away_and_still_told() -> None:
    book, master = Book(), MasterBook()
    for second in range(0, 100, 5):
        book.add("gap", second, [0.01 * (second + 1)])
        book.count("tokens", second, 3)
    master.absorb("w", book.changes())
    master.absorb("v", [dict(line) for line in _snapshots(book)])
    before = list(master.lines())
    master.news()
    sealed = master.seal(50.0)
    assert sealed
    assert sorted(map(str, [*sealed, *master.lines()])) == sorted(map(str, before))
    assert min(line["start"] for line in master.lines()) >= 50 - SKETCH_SECONDS
    master.absorb("w", [{"metric": "tokens", "start": 5, "seconds": 1, "count": 999}])
    assert sorted(map(str, [*sealed, *master.lines()])) == sorted(map(str, before))  # too late: it is put away
    assert master.seal(50.0) == []
    book.forget(50.0)
    book.count("tokens", 80.5, 1)
    assert [line["count"] for line in book.changes()] == [4]


def _snapshots(book: Book) -> list[dict[str, Any]]:
    """Everything that a book holds, as a second worker would tell it."""
    book._changed.update(book._sketches, book._counts)
    return book.changes()
