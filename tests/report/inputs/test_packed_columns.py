"""Columns built in pieces: the values that were added, in as few bytes as they need."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.report.inputs.packed_columns import NumberColumn, TextPieces, TwinColumn, first_of_each, joined

NAN = float("nan")
VALUES = st.sampled_from([NAN, 0.0, 1.0, -1.0, 127.0, 128.0, 2.0**24 + 1, 2.0**40, 0.1, 1e15])


@given(st.lists(st.lists(VALUES, max_size=5), max_size=5), st.booleans())
def test_numbers_come_back_exactly(pieces: list[list[float]], counts: bool) -> None:
    column = NumberColumn(sum(map(len, pieces)), counts=counts)
    for piece in pieces:
        column.add(np.array(piece, dtype=np.float64))
    added = np.array([value for piece in pieces for value in piece], dtype=np.float64)
    assert np.array_equal(np.asarray(column.values(), dtype=np.float64), added, equal_nan=True)


@pytest.mark.parametrize(
    ("values", "bytes_each"),
    [
        ([NAN] * 100, 0),
        ([5.0] * 100, 0),
        (range(100), 1),
        (range(1000), 2),
        ([NAN, *range(100)], 2),
        ([NAN, *range(5000)], 4),
    ],
)
def test_counts_take_few_bytes(values: Sequence[float], bytes_each: int) -> None:
    column = NumberColumn(len(values), counts=True)
    column.add(np.array(values, dtype=np.float64))
    kept = column.values()
    assert (kept.itemsize if kept.strides[0] else 0) == bytes_each


def test_text_of_pieces_with_names_of_their_own() -> None:
    column = TextPieces(4)
    column.add(np.array([1, 0], dtype=np.int8), ["b", "a"])
    column.add(np.array([0, 1], dtype=np.int8), ["a", ""])
    assert column.values().tolist() == ["a", "b", "a", ""]


def test_tables_are_joined_and_doubled_rows_found() -> None:
    def table(ids: list[str], t: list[float]) -> dict[str, object]:
        return {"reply_id": np.array(ids, dtype=object), "t": np.array(t)}

    both = joined([table(["w:1", "w:2"], [1.0, NAN]), table(["w:1", "w:2"], [1.5, NAN])])
    first = first_of_each(both, ["reply_id"])
    assert first is not None
    assert first.tolist() == [True, True, False, False]
    first = first_of_each(both, ["reply_id", "t"])
    assert first is not None
    assert first.tolist() == [True, True, True, False]
    assert first_of_each(table(["w:1", "w:2"], [1.0, 1.0]), ["reply_id"]) is None


@given(st.lists(st.lists(st.tuples(VALUES, st.booleans()), max_size=4), max_size=4))
def test_a_twin_has_its_own_values_from_the_first_difference_on(pieces: list[list[tuple[float, bool]]]) -> None:
    rows = sum(map(len, pieces))
    column = NumberColumn(rows)
    twin = TwinColumn(rows, column)
    for piece in pieces:
        values = np.array([value for value, _ in piece], dtype=np.float64)
        others = np.array([7.0 if differs else value for value, differs in piece], dtype=np.float64)
        column.add(values)
        twin.add(others, values)
    expected = [7.0 if differs else value for piece in pieces for value, differs in piece]
    assert np.array_equal(np.asarray(twin.values(), dtype=np.float64), np.array(expected), equal_nan=True)
    if not any(differs for piece in pieces for _, differs in piece):
        assert np.shares_memory(twin.values(), column.values()) or column.values().strides == (0,)
