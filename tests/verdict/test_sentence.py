"""The answer in words."""

import pytest

from probe_ext.verdict.values.dimension_result import DimensionResult
from probe_ext.verdict.values.judgement import Ramp
from probe_ext.verdict.values.level_result import LevelResult, State
from probe_ext.verdict.values.plurals import cause, listed, things
from probe_ext.verdict.wording.headline import RAMP_UNPROVEN, sentence, what_broke
from probe_ext.verdict.wording.next_run import next_levels

GAP = "between them was not measured."
LOWEST = "at 8 people, the lowest level measured"


@pytest.mark.parametrize(
    ("served", "between", "breaks", "expected"),
    [
        (64, (64, 96), "typing", f"64 people at once feel served; at 96 typing speed broke first; {GAP}"),
        (1, (1, 2), "silence", "1 person feels served; at 2 silent pauses broke first."),
        (3, (3, 4), None, "3 people at once feel served; at 4 several dimensions together broke first."),
        (0, (None, 1), "answer", "Not even one person feels served: failed or late answers broke first."),
        (0, (None, 8), "typing", f"Nobody is proven served: {LOWEST}, typing speed broke first."),
        (None, (None, None), None,
         "No answer: the number of users was never constant long enough to measure anything."),
    ],
)  # fmt: skip
def test_the_answer_in_a_sentence(
    served: int | None, between: tuple[int | None, int | None], breaks: str | None, expected: str
) -> None:
    assert sentence(served, between, what_broke(breaks, between[1], {}), [], None, []) == expected


def test_a_dimension_that_fails_only_higher_up_did_not_fail_the_level() -> None:
    typing = {"typing": DimensionResult(4, (4, 16), ())}
    broke = "several dimensions together broke first (typing speed by itself only at 16)"
    assert what_broke("typing", 5, typing) == broke
    assert what_broke("typing", 16, typing) == "typing speed broke first"


def test_answers_that_are_not_the_models_own_are_stated() -> None:
    expected = sentence(8, (8, None), "", [], None, [], ["cut_answers", "batch_limit"])
    assert expected == "With answers cut short, 8 people at once feel served; more were not measured."
    both = sentence(0, (None, 1), "silent pauses broke first", [], None, [], ["response_cache", "cut_answers"])
    assert both.startswith("With answers from a response cache and cut short, not even one person feels served")
    assert sentence(8, (8, None), "", [], None, [], ["batch_limit"]).startswith("8 people")
    assert sentence(None, (None, None), "", [], None, [], ["cut_answers"]).startswith("No answer")


def band(low: int, high: int, why: tuple[str, ...] = (), strained: int = 0, users: int = 0) -> LevelResult:
    """Return a band of a ramp with this many strained users; with `users`, a level instead."""
    appears: State = "failed" if strained * 2 > high else "unproven"
    return LevelResult(
        users=users or (low + high) // 2, users_low=low, users_high=high, band=not users, t_start=0.0, t_end=9.0,
        state=appears if users else "unproven", appears=appears, why=why, served_share=None, served_share_low=None,
        served_share_high=None, served_share_fit=None, users_served=high - strained, users_strained=strained,
        users_broken=0, users_undecided=0, users_unheard=0, replies=9, replies_served=9, replies_strained=0,
        replies_broken=0, replies_open=0, replies_needed=None,
    )  # fmt: skip


WAIT = ("first_word", "typing")
FIRST_WORD = "the wait for the first word broke first"
ONE = "A ramp suggests that 1 person feels served"


@pytest.mark.parametrize(
    ("between", "failed", "levels", "expected"),
    [
        ((3, 12), None, [band(11, 12, WAIT, 9)],
         f"A ramp suggests that 3 people at once feel served; at 12 {FIRST_WORD}; {RAMP_UNPROVEN}."),
        ((None, 2), None, [band(1, 2, WAIT, 2)],
         f"A ramp suggests that fewer than 2 people at once feel served; at 2 {FIRST_WORD}; {RAMP_UNPROVEN}."),
        ((1, None), None, [], f"{ONE}; more were not measured; {RAMP_UNPROVEN}."),
        ((1, None), None, [band(3, 4)],
         f"{ONE}; above that it was too short to tell; {RAMP_UNPROVEN}."),
        ((1, None), None, [band(3, 4), band(5, 6, WAIT, 2)],
         f"{ONE}; from 5 on {cause(WAIT[0])} cost some of them, too few to tell how many; {RAMP_UNPROVEN}."),
        ((1, None), 8, [band(8, 8, ("silence",), 8, users=8)],
         f"No answer yet: 8 people are too many, silent pauses broke first; a{ONE[1:]}, which is not proven."),
        ((1, 6), 8, [band(5, 6, ("silence",), 5), band(8, 8, WAIT, 8, users=8)],
         f"{ONE}; at 6 silent pauses broke first; {RAMP_UNPROVEN}."),
        ((9, None), 8, [band(8, 8, WAIT, 8, users=8)],
         "No answer yet: 8 people are too many, and below that nothing was measured long enough."),
    ],
)  # fmt: skip
def test_a_ramp_suggests_a_result_without_proving_it(
    between: tuple[int | None, int | None], failed: int | None, levels: list[LevelResult], expected: str
) -> None:
    assert sentence(None, (None, failed), "", levels, Ramp(between), []) == expected


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


def test_singular_plural_and_lists() -> None:
    assert [things(1, "reply", "replies"), things(1200, "reply", "replies")] == ["1 reply", "1,200 replies"]
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"
    assert listed([]) == ""
