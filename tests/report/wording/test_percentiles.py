"""When a share of replies is a percentage: the same rule in pictures, tables, terminal and overview."""

import pytest

from probe_ext.report.wording.percentiles import share_text

WHOLE = {"replies_served": 9, "replies_strained": 0, "replies_broken": 1}


@pytest.mark.parametrize(
    ("counts", "grade", "share", "said"),
    [
        ({}, "served", 0.9, "90 %"),
        ({"replies_served": 0, "replies_broken": 0}, "served", None, "–"),
        ({"replies_served": 8}, "served", 0.89, "8 of 9"),
        ({"replies_served": 8}, "broken", 0.11, "1 of 9"),
        ({"replies_served": 2, "replies_broken": 0}, "served", 1.0, "2 of 2"),
    ],
)
def test_a_percentage_takes_ten_finished_replies(
    counts: dict[str, int], grade: str, share: float | None, said: str
) -> None:
    assert share_text(WHOLE | counts, grade, share) == said
