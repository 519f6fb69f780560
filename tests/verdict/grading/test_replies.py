"""Grading a reply: each dimension, each bound, each outcome."""

import numpy as np
import pytest
from worlds import CHAT, columns, reply

from probe_ext.measure.outcome import FINISHED, Outcome
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.settings.slo import Reasoning, SloProfile, WholeAnswer
from probe_ext.verdict.grading.reply_grades import judge_replies

NAMES = {-1: "open", 0: "served", 1: "strained", 2: "broken"}
AGENT = SloProfile(
    name="agent", whole_answer=WholeAnswer(served=5.0, strained=30.0, served_rate=25.0, strained_rate=5.0)
)
BATCH = SloProfile(name="batch", whole_answer=WholeAnswer(served=60.0, strained=300.0))


def grade(
    row: ReplyRow, dimension: str = "overall", *, profile: SloProfile = CHAT, reasoning: Reasoning = "shown"
) -> str:
    """Grade this reply."""
    judged = judge_replies(columns([row], ReplyRow), profile, reasoning)
    return NAMES[int((judged.overall if dimension == "overall" else judged.by[dimension])[0])]


@pytest.mark.parametrize(
    ("wait", "expected"),
    [(0.1, "served"), (1.0, "served"), (1.001, "strained"), (10.0, "strained"), (10.001, "broken")],
)
def test_first_word_bounds_belong_to_the_better_side(wait: float, expected: str) -> None:
    assert grade(reply(first=wait), "first_word") == expected
    assert grade(reply(first=wait)) == expected


def test_first_word_counts_from_due_less_own_lateness() -> None:
    queued = reply(sent=3.0, due=0.0, first=3.5)
    assert grade(queued, "first_word") == "strained"
    assert grade(reply(sent=3.0, due=0.0, late=2.8, first=3.5), "first_word") == "served"
    assert grade(queued, "first_word", profile=CHAT.model_copy(update={"first_word_from": "sent"})) == "served"


@pytest.mark.parametrize(
    ("tpot", "expected"), [(0.05, "served"), (0.1, "served"), (0.101, "strained"), (0.2, "strained"), (0.201, "broken")]
)
def test_typing_bounds_belong_to_the_better_side(tpot: float, expected: str) -> None:
    assert grade(reply(tpot=tpot), "typing") == expected


@pytest.mark.parametrize("changes", [{"tokens_out": 7}, {"events": 1}, {"tpot": None}])
def test_typing_is_not_judged_where_there_is_none(changes: dict[str, object]) -> None:
    row = reply(**{"tpot": 5.0, "longest_gap": None, **changes})
    assert grade(row, "typing") == "open"
    assert grade(row) == "served"


@pytest.mark.parametrize(
    ("gap", "expected"), [(1.999, "served"), (2.0, "strained"), (9.999, "strained"), (10.0, "broken"), (None, "open")]
)
def test_silence_bounds_belong_to_the_worse_side(gap: float | None, expected: str) -> None:
    assert grade(reply(longest_gap=gap), "silence") == expected


@pytest.mark.parametrize("outcome", sorted(Outcome))
def test_every_failure_of_the_server_is_broken(outcome: Outcome) -> None:
    expected = {Outcome.COMPLETE: "served", Outcome.ENDED_BY_US: "open", Outcome.CLIENT_ERROR: "open"}
    assert grade(reply(outcome=outcome), "answer") == expected.get(outcome, "broken")
    assert grade(reply(outcome=outcome)) == expected.get(outcome, "broken")


def test_a_client_error_is_never_the_servers_fault() -> None:
    assert grade(reply(first=50.0, outcome=Outcome.CLIENT_ERROR)) == "open"


def test_an_ending_in_silence_counts_as_silence() -> None:
    stalled = reply(outcome=Outcome.STALLED, end=121.15)
    assert grade(stalled, "silence") == "broken"
    assert grade(reply(outcome=Outcome.COMPLETE, end=121.15), "silence") == "served"
    assert FINISHED.isdisjoint({Outcome.STALLED})


def cut(at: float, **changes: object) -> ReplyRow:
    """Return a reply aborted by the load generator."""
    return reply(outcome=Outcome.ENDED_BY_US, end=at, **changes)


def waiting(at: float) -> ReplyRow:
    """Return a reply aborted before its first word."""
    return cut(at, first=None, tpot=None, tokens_out=None, longest_gap=None)


@pytest.mark.parametrize(("at", "expected"), [(0.9, "open"), (5.0, "strained"), (12.0, "broken")])
def test_aborted_before_the_first_word(at: float, expected: str) -> None:
    assert grade(waiting(at)) == expected


def test_aborted_in_mid_reply_is_open_until_a_bound_has_passed() -> None:
    assert grade(cut(1.2)) == "open"
    assert grade(cut(1.2), "first_word") == "served"
    assert grade(cut(1.2), "silence") == "open"
    assert grade(cut(4.0)) == "strained", "nearly three seconds of silence when it was cut"
    assert grade(cut(12.0)) == "broken"
    assert grade(cut(5.0, first=3.0, tokens_out=20)) == "strained"
    assert grade(cut(10.0, tpot=0.5)) == "broken", "twenty tokens at two a second"


def test_whole_answers_are_judged_by_their_time() -> None:
    def whole(seconds: float, **changes: object) -> str:
        row = reply(streamed=False, first=None, tpot=None, longest_gap=None, tokens_out=50, end=seconds, **changes)
        assert grade(row, "first_word") == grade(row, "typing") == grade(row, "silence") == "open"
        return grade(row)

    assert [whole(s) for s in (5.9, 6.0, 6.1, 20.0, 20.1)] == ["served", "served", "strained", "strained", "broken"]
    assert whole(3.0, outcome=Outcome.HTTP_ERROR) == "broken"
    assert whole(3.0, outcome=Outcome.ENDED_BY_US) == "open"
    assert whole(7.0, late=2.0) == "served"


def test_a_whole_answer_without_a_token_count_is_judged_only_if_it_does_not_matter() -> None:
    def uncounted(seconds: float) -> str:
        row = reply(streamed=False, first=None, tpot=None, longest_gap=None, tokens_out=None, events=0, end=seconds)
        return grade(row)

    assert uncounted(0.9) == "served"
    assert uncounted(5.0) == "open"


@pytest.mark.parametrize(("seconds", "expected"), [(60.0, "served"), (61.0, "strained"), (301.0, "broken")])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_batch_profile_judges_the_whole_answer_only(seconds: float, expected: str, streamed: bool) -> None:
    assert grade(reply(first=30.0, tpot=1.0, end=seconds, streamed=streamed), profile=BATCH) == expected


def test_hidden_reasoning_is_a_wait() -> None:
    thought = reply(first=0.2, first_visible=6.0, longest_gap=0.1, longest_gap_visible=3.0, tpot_visible=0.3)
    assert [grade(thought, d) for d in ("first_word", "typing", "silence")] == ["served", "served", "served"]
    hidden = [grade(thought, d, reasoning="hidden") for d in ("first_word", "typing", "silence")]
    assert hidden == ["strained", "broken", "strained"]


def test_hidden_reasoning_cut_before_the_answer_is_judged_by_the_wait() -> None:
    thinking = cut(12.0, first_visible=None, tpot_visible=None, longest_gap_visible=None, last=11.9, events_visible=0)
    assert grade(thinking) == "open"
    assert grade(thinking, reasoning="hidden") == "broken"


def test_a_complete_stream_without_a_first_token_is_open() -> None:
    assert grade(reply(first=None, tpot=None, longest_gap=None)) == "open"


def test_missing_columns_are_not_judged() -> None:
    row = {name: np.full(1, np.nan) for name in ("due", "late", "sent", "first", "last", "end", "tpot", "tokens_out")}
    text = np.array([""], dtype=object)
    judged = judge_replies({**row, "outcome": text, "streamed": np.array([True])}, CHAT, "shown")
    assert judged.by["first_word"][0] == judged.by["typing"][0] == -1


@pytest.mark.parametrize("streamed", [True, False])
def test_an_agent_waits_for_each_whole_reply_and_longer_for_a_longer_one(streamed: bool) -> None:
    def wait(seconds: float, tokens: int | None = 100, **changes: object) -> str:
        row = reply(first=0.5, tpot=0.5, longest_gap=4.0, end=seconds, tokens_out=tokens, streamed=streamed, **changes)
        return grade(row, profile=AGENT)

    assert [wait(s) for s in (9.0, 9.01, 50.0, 50.01)] == ["served", "strained", "strained", "broken"]
    assert [wait(s, 1000) for s in (45.0, 45.1, 230.1)] == ["served", "strained", "broken"]
    assert wait(11.0, late=2.0) == "served", "what the load generator was late is no wait"
    assert wait(29.0, due=20.0) == "served", "and no more is the time of the tool, which ends where the request is due"
    assert wait(3.0, outcome=Outcome.CUT) == "broken"


def test_an_agents_reply_that_we_ended_is_held_to_the_bound_of_the_longest_one() -> None:
    rows = [reply(end=20.0, tokens_out=500), *(cut(end, tokens_out=10) for end in (24.0, 26.0, 131.0))]
    judged = judge_replies(columns(rows, ReplyRow), AGENT, "shown")
    assert [NAMES[int(grade)] for grade in judged.overall] == ["served", "open", "strained", "broken"]
    alone = judge_replies(columns([cut(1000.0, tokens_out=10)], ReplyRow), AGENT, "shown")
    assert NAMES[int(alone.overall[0])] == "open", "without a complete reply, no length is known"
