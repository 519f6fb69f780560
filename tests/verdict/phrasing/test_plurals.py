"""Singular and plural, of counts and of rates."""

import pytest

from probe_ext.measure.rate import Rate
from probe_ext.verdict.phrasing.plurals import is_one, is_or_are, some_of, was_or_were


@pytest.mark.parametrize(
    ("some", "total", "text"),
    [(1, 1, "the only reply"), (0, 1, "0 of 1 reply"), (1, 5, "1 of 5 replies"), (1200, 1200, "all 1,200 replies")],
)
def test_a_part_of_a_total(some: int, total: int, text: str) -> None:
    assert some_of(some, total, "reply", "replies") == text


@pytest.mark.parametrize(
    ("n", "singular"), [(1, True), (0, False), (1000, False), (Rate.of(1), True), (Rate.of(0.001), False)]
)
def test_a_rate_of_one_is_singular_and_a_thousand_users_are_not(n: int, singular: bool) -> None:
    assert is_one(n) == singular
    assert (is_or_are(n), was_or_were(n)) == (("is", "was") if singular else ("are", "were"))
