"""What is marked and said of a number that the data suggest and do not prove."""

from dataclasses import asdict
from typing import Any

import pytest

from probe_ext.report.wording import answer_context
from probe_ext.verdict.values.answer import Answer

UNTIL_SETTLED = ", not proven: a run of about 26 minutes at 1 and 256 users would settle it"


def capacity(before: str, interval: str, low: int, high: int | None) -> dict[str, Any]:
    return {
        "verdict": "unproven",
        "served_users": None,
        "bracket": [None, None],
        "interval": [low, high],
        "suggestion": {"users": 26, "low": low, "high": high},
        "answer": asdict(Answer("", (), before + UNTIL_SETTLED, "", "", interval, "")),
    }


@pytest.mark.parametrize(
    ("said", "mark", "interval"),
    [
        (capacity("Probably about 26 people (95 %: 20 to 31)", "20 to 31", 20, 31), True, ""),
        (capacity("Probably at least 26 people", "8 or more", 8, None), True, "95 % interval: 8 or more"),
        (capacity("Probably between 1 and 255 people", "", 1, 255), False, "95 % interval: 1 to 255"),
    ],
)
def test_a_suggested_number_is_marked_if_the_answer_names_it(said: dict[str, Any], mark: bool, interval: str) -> None:
    assert answer_context.mark(said) == ((26, "probably 26, not proven") if mark else None), "26 minutes are no users"
    assert answer_context.interval(said) == interval


@pytest.mark.parametrize(
    ("searched", "command", "said"),
    [
        (True, "probe run capacity --search", "A new search, from the beginning, as none can be continued"),
        (False, "probe run capacity --search", "To measure again"),
        (True, "probe run capacity --levels 4,8", "To measure again"),
    ],
)
def test_a_search_after_a_search_is_said_to_start_anew(searched: bool, command: str, said: str) -> None:
    content = {"verdict": "unproven", "next_step": None, "next_command": command, "next_seconds": 780.0}
    assert answer_context.purpose(content, searched=searched) == f"{said} (about 13 minutes)"


@pytest.mark.parametrize("state", ["fail", "pass", "unproven"])
def test_the_next_run_belongs_on_another_machine_where_this_one_was_shared(state: str) -> None:
    said = answer_context.another_machine_advice({"findings": [{"check": "own_machine", "state": state}]})
    assert said.startswith("If you can, run it on another machine") == (state == "fail")


@pytest.mark.parametrize(
    ("state", "drift", "disturbed", "said"),
    [("fail", [], [], True), ("fail", [4], [], False), ("fail", [], [8], False), ("unproven", [], [], False)],
    ids=["back and forth", "changed for good", "one bad stretch", "alike"],
)
def test_service_that_comes_and_goes_makes_the_answer_doubtful(
    state: str, drift: list[int], disturbed: list[int], said: bool
) -> None:
    why = "Visits to 12 users differ by more than stretches of one visit do."
    content = {"drift": drift, "disturbed": disturbed, "findings": [{"check": "drift", "state": state, "why": why}]}
    title = "Service was not the same at each visit."
    found = [(title, f"{why} The answer is of all visits together.")]
    assert answer_context._unsteady_service(content) == (found if said else [])
