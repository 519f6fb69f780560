"""What was measured between the last level that held and the first that failed, and what was not."""

import pytest

from probe_ext.verdict.wording.gap import gap, labels, told


@pytest.mark.parametrize(
    ("held", "failed", "measured", "expected", "marked"),
    [
        (8, 9, [8, 9], "", ()),
        (8, 12, [4, 8, 12, 16], "between them was not measured", ("9 to 11: not measured",)),
        (8, 10, [8, 10], "between them was not measured", ("9: not measured",)),
        (8, 12, [8, 10, 10, 12], "10, between them, was not decided; 9 and 11 were not measured",
         ("10: not decided", "9 and 11: not measured")),
        (8, 10, [8, 9, 10], "9, between them, was not decided", ("9: not decided",)),
        (8, 11, [8, 10, 11], "10, between them, was not decided; 9 was not measured",
         ("10: not decided", "9: not measured")),
        (1000, 2000, [1000, 1500, 2000],
         "1,500, between them, was not decided; 1,001 to 1,499 and 1,501 to 1,999 were not measured",
         ("1,500: not decided", "the rest: not measured")),
        (8, 64, [8, 12, 16, 24, 32, 48, 64],
         "12, 16, 24, 32 and 1 more, between them, were not decided; the rest was not measured",
         ("5 between: not decided", "the rest: not measured")),
    ],
)  # fmt: skip
def test_what_lies_between(held: int, failed: int, measured: list[int], expected: str, marked: tuple[str, ...]) -> None:
    between = gap(held, failed, measured)
    assert told(between) == expected
    assert labels(between) == marked
