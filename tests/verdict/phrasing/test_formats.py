"""Formats of numbers, and that nothing else rounds numbers for a reader."""

import re
from pathlib import Path

import pytest

from probe_ext.verdict.phrasing import formats

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (NAN, "–"), (0.0, "0 s"), (0.00000012, "0.00012 ms"), (0.00035, "0.35 ms"), (0.0087, "8.7 ms"),
        (0.0243, "24 ms"), (0.0994, "99 ms"), (0.0996, "0.10 s"), (0.1234, "0.12 s"), (0.996, "1.0 s"), (7.44, "7.4 s"),
        (9.96, "10 s"), (64.2, "64 s"), (119.4, "119 s"), (200.0, "3 min 20 s"), (3900.0, "1 h 5 min"),
    ],
)  # fmt: skip
def test_seconds(value: float | None, text: str) -> None:
    assert formats.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (NAN, "–"), (0.0, "0 %"), (0.000001, "below 0.01 %"), (0.00041, "0.041 %"), (0.004, "0.4 %"),
        (0.0123, "1.2 %"), (0.05, "5 %"), (0.0996, "10 %"), (0.123, "12 %"), (0.5, "50 %"), (0.9966, "99.7 %"),
        (1.0, "100 %"),
    ],
)  # fmt: skip
def test_percent(value: float | None, text: str) -> None:
    assert formats.percent(value) == text


def test_counts_rates_and_bounds() -> None:
    assert [formats.count(value) for value in (None, NAN, 0, 2214.4)] == ["–", "–", "0", "2,214"]
    assert [formats.rate(value) for value in (None, 0.126, 9.2, 27.4, 1204.0)] == [
        "–",
        "0.13",
        "9.2",
        "27",
        "1,204",
    ]
    assert [formats.bound(value) for value in (0.01, 0.2, 1.0, 60.0)] == ["10 ms", "0.2 s", "1 s", "60 s"]
    assert [formats.moment(value) for value in (40.2, 725.0, 3720.0)] == ["0:40", "12:05", "1:02:00"]


ROUNDED = re.compile(r"\{[^{}]+:(,?\.\d[fg%])\}( ?(s|ms|%|µs)\b)?")
"""A number rounded within an f-string."""
ALLOWED = {
    "formats.py": 10,
    "team_size.py": 2,
    "client_accuracy.py": 1,
    "svg.py": 1,
    "by_reply.py": 1,
    "lane_chart.py": 1,
    "distributions.py": 1,
    "summary_and_junit.py": 2,
}
"""Exceptions by file: formats, money, microseconds of error, coordinates, an index, data, p50, a duration in XML."""


@pytest.mark.parametrize("package", ["verdict", "report"])
def test_no_other_module_rounds(package: str) -> None:
    folder = Path(formats.__file__).parents[2] / package
    paths = sorted(folder.rglob("*.py"))
    assert len(paths) > 20
    for path in paths:
        found = ROUNDED.findall(path.read_text(encoding="utf-8"))
        assert len(found) <= ALLOWED.get(path.name, 0), f"{path.name}: {found}"
