"""A rate series from a file, and the plan that it makes."""

from pathlib import Path

import pytest

from probe_ext.load.series_plan import RateStep, SeriesPlan
from probe_ext.measure.rate import Rate
from probe_ext.workload.rate_series import read_series


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "day.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "0,2\n60,4\n180,1\n",
        "t,rate\n0,2\n60,4\n180,1",
        "time,rate\n0s, 2\n1m, 4\n3m, 1\n\n",
        "08:00,2\n08:01,4\n08:03:00,1\n",
    ],
)
def test_each_rate_holds_until_the_next_time(tmp_path, text):
    steps = read_series(file(tmp_path, text))
    assert steps == (RateStep(Rate.of(2), 60), RateStep(Rate.of(4), 120), RateStep(Rate.of(1), 120))


def test_a_day_is_scaled_in_rate_and_time(tmp_path):
    hours = "".join(f"{hour:02}:00,{100 + hour}\n" for hour in range(24))
    steps = read_series(file(tmp_path, hours), rate_scale=0.1, time_scale=60)
    assert len(steps) == 24
    assert {step.seconds for step in steps} == {60.0}
    assert [step.rate.per_second for step in steps] == pytest.approx([10 + hour / 10 for hour in range(24)])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "at least two lines"),
        ("0,2\n", "at least two lines"),
        ("0,2\n60\n", "line 2: must have a time and a rate"),
        ("0,2\n60,4,5\n", "line 2: must have a time and a rate"),
        ("0,2\nx,4\n", "line 2: 'x' is not a time"),
        ("0,2\n60,fast\n", "line 2: 'fast' is not a rate"),
        ("0,2\n60,-1\n", "line 2: '-1' is not a rate"),
        ("0,2\n60,nan\n", "line 2: 'nan' is not a rate"),
        ("60,2\n60,4\n", "line 2: its time must be later"),
        ("0,0\n60,0\n", "no rate above 0"),
        ("0,2\n0.5,4\n", "a step of 0.5 s"),
        ("t,rate\n0,2\n60,99999999\n", "line 3: '99999999' is not a rate"),
        ("0,2\n60," + "4" * 200_000, "line 2: (field larger|'4)"),  # the csv module's limit is the whole process's
        ('0,2\n60,"4\n', "line 2: unexpected end of data"),
        ("0,2\n60,0.0004\n", "line 2: its rate is too small"),
        ("".join(f"{t},1\n" for t in range(10_001)), "more than 10,000"),
    ],
)
def test_an_invalid_series_is_refused_with_its_line(tmp_path, text, why):
    with pytest.raises(ValueError, match=why):
        read_series(file(tmp_path, text))


def test_what_is_no_series_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        read_series(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="not a regular file"):
        read_series(tmp_path)


class Visits:
    """What a series tells of its levels."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, float, int | bool]] = []

    def begin_visit(self, now: float, users: int) -> None:
        self.seen.append(("begin", now, users))

    def end_visit(self, now: float, *, more_users: bool) -> None:
        self.seen.append(("end", now, more_users))


def test_a_series_goes_on_by_time_alone():
    two, four = Rate.of(2), Rate.of(4)
    plan = SeriesPlan((RateStep(two, 20), RateStep(Rate(0), 5), RateStep(four, 8), RateStep(two, 15)), settle=5)
    steps, visits = plan.begin(), Visits()
    assert steps.target(0.0, 0, visits) == two
    rates = [steps.target(float(now), steps.level, visits) for now in range(1, 50)]
    assert rates == [two] * 20 + [0] * 5 + [four] * 8 + [two] * 15 + [None]
    begun = [(kind, now) for kind, now, _ in visits.seen]
    assert begun == [("begin", 6.0), ("end", 21.0), ("begin", 39.0), ("end", 49.0)], "a step too short is no level"
    assert plan.min_duration == 48


def test_the_manifest_has_the_whole_series():
    plan = SeriesPlan((RateStep(Rate.of(2.5), 20), RateStep(Rate(0), 10)), settle=5)
    stated = plan.begin().as_json()
    assert (stated["rates"], stated["seconds"]) == ([2.5, 0.0], [20, 10])
