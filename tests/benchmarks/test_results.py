"""What the benchmarks compute from their measurements, and how they say it."""

import pytest

from benchmarks import cost, results


def test_the_cost_of_a_reply_excludes_what_a_second_costs_anyway() -> None:
    each, second = 400e-6, 20e-3  # CPU seconds of a reply, and of a second without any

    def run(replies: int, seconds: float) -> tuple[float, int, float]:
        return replies * each + seconds * second, replies, seconds

    found = cost._of_reply(run(72, 8.0), run(990, 9.0))
    assert found["us"] == pytest.approx(400)
    assert found["second_us"] == pytest.approx(20e3)
    assert found["all_us"] == pytest.approx(400 + 20e3 * 9 / 990)
    assert found["replies_a_second"] == pytest.approx(110)


def test_turns_that_disagree_decide_nothing() -> None:
    assert results.decided([True, True]) == "met"
    assert results.decided([False, False, False]) == "missed"
    assert results.decided([True, False, True]) == "undecided, met in 2 of 3"


@pytest.mark.parametrize(("us", "said"), [([400, 480], "met"), ([510, 600], "missed"), ([480, 510], "undecided")])
def test_a_reply_has_a_section_with_verdict_and_parts(us: list[float], said: str) -> None:
    turns = [{"us": one, "all_us": one + 100, "second_us": 9e3, "replies_a_second": 90.0} for one in us]
    parts = {"making the prompt": 60.0, "sending the request": 30.0}
    section = results.section("reply", "2030-01-01 00:00 UTC", {"turns": turns, "stages": parts, "timed_us": 100.0,
                                                                 "path": "native"})  # fmt: skip
    cells = {line.split(" | ")[0].strip("| "): line.strip("|").split(" | ") for line in section.splitlines()}
    assert cells["a finished reply"][-1].strip().startswith(said)
    assert cells["making the prompt"][1:3] == ["60.0 µs", "60%"]
    assert cells["everything else (greenlets, hub, Locust)"][1:3] == ["10.0 µs", "10%"]
