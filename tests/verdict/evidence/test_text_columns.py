"""Text in columns of codes: nothing is lost, and questions about it have the same answers as about lists of strings."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.verdict.evidence import columns
from probe_ext.verdict.evidence.text_columns import IdCoder, TextColumn

HEADS = st.sampled_from(["w1", "w2", "a:b", "", "é", "w1:7"])
NUMBERS = st.sampled_from(
    ["0", "7", "00", "07", "12", "99999999999", "100000000000", "-1", "+1", " 1", "1 ", "²", "1e3"]
)
IDS = st.one_of(st.builds("{}:{}".format, HEADS, NUMBERS), HEADS, st.text(max_size=4))


@given(st.lists(IDS, max_size=30))
def test_identifiers_come_back_and_have_equal_keys_only_if_equal(texts: list[str]) -> None:
    coder = IdCoder()
    column = coder.column(coder.keys(texts))
    assert column.tolist() == texts
    assert len(set(column.keys.tolist())) == len(set(texts))


@given(st.lists(st.tuples(st.sampled_from(["w1", "w2", "é"]), IDS), max_size=30), st.booleans())
def test_likely_heads_change_nothing(rows: list[tuple[str, str]], all_likely: bool) -> None:
    heads = [head for head, _ in rows]
    texts = [f"{head}:{n}" if all_likely else text for n, (head, text) in enumerate(rows)]
    as_objects = np.array([*texts, None], dtype=object)[:-1]
    coder = IdCoder()
    assert coder.column(coder.keys_under(as_objects, columns.as_text_column(heads))).tolist() == texts


def test_rows_of_identifiers_of_another_table() -> None:
    known = {"reply_id": np.array(["w1:3", "w2:1", "x"], dtype=object)}
    wanted = {"reply_id": np.array(["x", "w1:4", "w2:1", "w3:3", "w1:3"], dtype=object)}
    rows = columns.rows_of(columns.ids(wanted, "reply_id"), columns.ids(known, "reply_id"))
    assert rows.tolist() == [2, -1, 1, -1, 0]
    assert columns.known_ids(wanted, known, "reply_id").tolist() == [True, False, True, False, True]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "x", "y"])), max_size=20), st.randoms())
def test_counts_codes_and_masks_are_those_of_the_texts(rows: list[tuple[str, str]], random: object) -> None:
    first, second = [a for a, _ in rows], [b for _, b in rows]
    # Codes in any order, with a name that no row has and one that stands twice.
    table = ["y", "c", "unused", "", "x", "a", "b", "c"]
    column = TextColumn(np.array([table.index(a) for a in first], dtype=np.int8), table)
    both = {"first": column, "second": np.array([*second, None], dtype=object)[:-1]}
    assert columns.texts(both, "first") == first
    assert list(columns.text_counts(both, "first").items()) == list(Counter(first).items())
    assert list(columns.pair_counts(both, "first", "second").items()) == list(Counter(rows).items())
    assert columns.is_any(both, "first", {"a", "c"}).tolist() == [a in "ac" for a in first]
    codes, names = columns.text_codes(both, "first")
    assert ([names[code] for code in codes], names) == (first, sorted(set(first)))
    assert column.with_text(np.array([a == "a" for a in first], dtype=np.bool_), "z").tolist() == [
        "z" if a == "a" else a for a in first
    ]


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_missing_column_is_empty_text(name: str) -> None:
    rows = {"t": np.array([1.0, 2.0]), "empty": np.array(["", ""], dtype=object)}
    assert columns.text_counts(rows, name) == {"": 2}
    assert columns.texts_at(rows, name, np.array([1])) == [""]
    assert not columns.is_any(rows, name, {"x"}).any()


def test_one_name_more_than_the_type_of_the_codes_can_count() -> None:
    column = TextColumn(np.arange(128, dtype=np.int8), [str(number) for number in range(128)])
    changed = column.with_text(column.codes == 1, "another")
    assert changed.tolist() == ["0", "another", *map(str, range(2, 128))]
