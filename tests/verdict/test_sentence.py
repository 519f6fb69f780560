"""The words around the figures."""

import pytest

from probe_ext.verdict.judgement import Climb, Question
from probe_ext.verdict.next_run import next_levels
from probe_ext.verdict.sentence import sentence, what_broke
from probe_ext.verdict.words import listed, percent, seconds, things

GAP = "between them was not measured."
LOWEST = "at 8 people, the lowest level measured"


@pytest.mark.parametrize(
    ("served", "between", "breaks", "said"),
    [
        (64, (64, 96), "typing", f"64 people at once feel served; at 96 typing speed broke first; {GAP}"),
        (1, (1, 2), "silence", "1 person feels served; at 2 silent pauses broke first."),
        (3, (3, 4), None, "3 people at once feel served; at 4 several things together broke first."),
        (0, (None, 1), "answer", "Not even one person feels served: failed or late answers broke first."),
        (0, (None, 8), "typing", f"Nobody is proven served: {LOWEST}, typing speed broke first."),
        (None, (None, None), None, "No answer: the number of users never stood still long enough to measure anything."),
    ],
)  # fmt: skip
def test_the_answer_in_a_sentence(
    served: int | None, between: tuple[int | None, int | None], breaks: str | None, said: str
) -> None:
    assert sentence(served, between, what_broke(breaks, between[1], []), [], None, []) == said


def test_what_breaks_by_itself_only_further_up_did_not_break_the_level_that_failed() -> None:
    typing = Question("typing", 4, (4, 16), ())
    broke = "several things together broke first (typing speed by itself only at 16)"
    assert what_broke("typing", 5, [typing]) == broke
    assert what_broke("typing", 16, [typing]) == "typing speed broke first"


def test_served_with_something_else_than_the_models_answers_is_said_to_be() -> None:
    said = sentence(8, (8, None), "", [], None, [], ["cut_answers", "batch_limit"])
    assert said == "With answers cut short, 8 people at once feel served; more were not measured."
    both = sentence(0, (None, 1), "silent pauses broke first", [], None, [], ["response_cache", "cut_answers"])
    assert both.startswith("With answers from a response cache and cut short, not even one person feels served")
    assert sentence(8, (8, None), "", [], None, [], ["batch_limit"]).startswith("8 people")
    assert sentence(None, (None, None), "", [], None, [], ["cut_answers"]).startswith("No answer")


@pytest.mark.parametrize(
    ("between", "start"),
    [
        ((20, 26), "Somewhere from 20 to 26"),
        ((None, 5), "Fewer than about 5"),
        ((40, None), "About 40 people at once or more"),
    ],
)
def test_a_climb_is_told_as_no_proof(between: tuple[int | None, int | None], start: str) -> None:
    said = sentence(None, (None, None), "", [], Climb(between), [])
    assert said.startswith(start)
    assert said.endswith("it proves nothing yet.")


@pytest.mark.parametrize(
    ("between", "levels"),
    [
        ((64, 96), [64, 72, 80, 88, 96]),
        ((8, 10), [8, 9, 10]),
        ((8, 9), []),
        ((64, None), [64, 128, 256]),
        ((None, 8), [2, 4, 5, 6, 8]),
        ((None, 1), [1]),
        ((None, None), []),
    ],
)
def test_what_to_measure_next(between: tuple[int | None, int | None], levels: list[int]) -> None:
    assert next_levels(between, []) == levels


def test_figures_in_words() -> None:
    assert [seconds(0.012), seconds(1.25), seconds(90.0)] == ["12 ms", "1.25 s", "90 s"]
    assert [percent(0.0), percent(0.004), percent(0.5), percent(1.0)] == ["0 %", "0.4 %", "50 %", "100 %"]
    assert [things(1, "reply", "replies"), things(1200, "reply", "replies")] == ["1 reply", "1,200 replies"]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"
    assert listed([]) == ""
