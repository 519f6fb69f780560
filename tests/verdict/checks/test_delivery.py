"""Bytes that something held back, replies that are not streamed, and token counts that contradict what arrived."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from worlds import CHAT, columns, evidence, manifest, reply, staircase, worker

from probe_ext.measure.table_rows import GapRow, ReplyRow, ServerRow
from probe_ext.measure.timeline import TokenEvents, pace
from probe_ext.report.outputs.gate import gate
from probe_ext.verdict.checks.delivery import delivery_checks
from probe_ext.verdict.checks.token_counts import token_checks
from probe_ext.verdict.grading.held_back import MIN_STREAM_TOKENS
from probe_ext.verdict.grading.reply_grades import SERVED, STRAINED, UNJUDGED, GradedReplies, judge_replies
from probe_ext.verdict.judge import judge
from probe_ext.verdict.server.find_pauses import find_pauses
from probe_ext.verdict.server.generation import with_generation
from probe_ext.verdict.values.finding import Finding

STILL = staircase((1, 700))


def bundled(
    user: int = 0,
    sent: float = 0.0,
    *,
    each: int = 64,
    tokens: int = 200,
    rate: float = 9.1,
    wait: float = 0.2,
    **more: Any,
) -> ReplyRow:
    """Return a reply that a model wrote evenly and a proxy passed on `each` tokens at a time."""
    written = [sent + wait + n / rate for n in range(tokens)]
    at = [written[min(n // each * each + each, tokens) - 1] for n in range(tokens)]
    found = pace(TokenEvents(at, [1] * tokens, [True] * tokens), tokens)
    assert found is not None
    values: dict[str, Any] = {
        "first": found.first, "last": found.last, "end": found.last, "headers": found.first, "tokens_out": tokens,
        "first_visible": found.first, "tokens_first": found.tokens_first, "events": tokens, "events_visible": tokens,
        "longest_gap": found.longest_gap, "gap_start": found.gap_start, "longest_gap_visible": found.longest_gap,
        "gap_tokens": found.gap_tokens, "held_max": found.held_max, "tokens_held": found.tokens_held,
        "tokens_visible": tokens, "reads": -(-tokens // each), "reads_unresolved": -(-tokens // each),
        "segments": -(-tokens // each), "text_bytes": 4 * tokens, "tokens_meant": 100,
    }  # fmt: skip
    return reply(
        user, sent, **{**values, "tpot": found.tpot, "tpot_visible": found.tpot, **more} | {"last": found.last}
    )


def graded(rows: Sequence[ReplyRow]) -> GradedReplies:
    return judge_replies(columns(list(rows), ReplyRow), CHAT, "shown")


def findings(rows: Sequence[ReplyRow]) -> dict[str, Finding]:
    run = evidence(list(rows), STILL)
    return {one.check: one for one in [*delivery_checks(run, graded(rows)), *token_checks(run)]}


def many(row: Any, n: int = 20, **changes: Any) -> list[ReplyRow]:
    return [row(0, 30.0 * k, **changes) for k in range(n)]


def test_a_slow_model_behind_a_buffer_is_not_judged_by_its_gaps_or_an_uncertain_speed() -> None:
    result = graded([bundled(each=64)])
    assert result.by["silence"].tolist() == [UNJUDGED]
    assert bool(result.typing_hidden[0])
    assert result.by["typing"].tolist() == [UNJUDGED]
    assert np.isnan(result.experience.rate[0])
    assert np.isnan(result.experience.gap[0])


@pytest.mark.parametrize(("rate", "grade"), [(55.0, SERVED), (9.1, STRAINED)])
def test_a_speed_that_short_bursts_leave_no_doubt_about_is_judged(rate: float, grade: int) -> None:
    result = graded([bundled(each=4, rate=rate)])
    assert result.by["typing"].tolist() == [grade]
    assert not result.typing_hidden[0]


def test_a_model_that_is_fast_enough_at_worst_is_served_behind_a_buffer() -> None:
    assert graded([bundled(each=64, rate=80.0)]).by["typing"].tolist() == [SERVED]


def test_a_stall_of_the_server_stays_a_silence_although_reads_carry_several_tokens() -> None:
    row = bundled(each=4, rate=50.0, longest_gap=5.0, longest_gap_visible=5.0, gap_tokens=4)
    assert graded([row]).by["silence"].tolist() == [STRAINED]


def test_one_stall_after_which_the_server_catches_up_is_a_silence() -> None:
    row = reply(
        0, 0.0, tokens_out=100, longest_gap=4.0, longest_gap_visible=4.0, gap_tokens=40, tokens_held=40, held_max=4.0
    )
    assert graded([row]).by["silence"].tolist() == [STRAINED]


def test_tool_arguments_that_a_parser_held_back_are_no_silence() -> None:
    row = reply(
        0, 0.0, tokens_out=4400, events=2, events_visible=2, tpot=32.0 / 4399, longest_gap=32.0,
        longest_gap_visible=32.0, gap_tokens=4390, tokens_held=4390, text_bytes=17_500, segments=3,
    )  # fmt: skip
    result = graded([row])
    assert result.by["silence"].tolist() == [UNJUDGED]
    assert result.overall.tolist() == [SERVED]
    found = findings([row] * 20)["held_in_events"]
    assert found.state == "fail"
    assert "All 20 streamed replies" in found.why
    assert "parser" in found.advice


def test_a_stream_in_one_burst_is_judged_by_its_whole_time() -> None:
    late = bundled(each=1000, tokens=100, rate=20.0, tpot=None, tpot_visible=None)
    result = graded([late])  # after 5.2 s; 1 s + 100/10 are allowed
    assert bool(result.arrived.at_once[0])
    assert result.by["first_word"].tolist() == [UNJUDGED]
    assert result.by["answer"].tolist() == [SERVED]
    assert result.overall.tolist() == [SERVED]


def test_a_burst_that_this_machine_read_late_is_not_taken_for_a_whole_answer() -> None:
    ours = bundled(each=1000, tokens=100, rate=20.0, tpot=None, tpot_visible=None, segments=101)
    assert not graded([ours]).arrived.at_once[0]


def test_aborted_in_a_burst_that_was_still_collected_is_no_silence() -> None:
    row = bundled(outcome="ended_by_us", tpot=None, tpot_visible=None, end=40.0)
    assert graded([row]).by["silence"].tolist() == [UNJUDGED]


def test_speed_by_events_of_long_text_is_not_judged_unless_it_is_enough_at_least() -> None:
    slow = reply(0, 0.0, tpot=0.5, tokens_from="events", text_bytes=20 * 30)
    fast = reply(0, 0.0, tpot=0.05, tokens_from="events", text_bytes=20 * 30)
    short = reply(0, 0.0, tpot=0.5, tokens_from="events", text_bytes=20 * 4)
    result = graded([slow, fast, short])
    assert result.typing_hidden.tolist() == [True, False, False]
    assert result.by["typing"][1] == SERVED
    assert result.by["typing"][2] not in (UNJUDGED, SERVED)
    assert "tokens were not counted" in findings([slow] * 20)["typing_known"].why


@pytest.mark.parametrize(
    ("bytes_per_event", "events", "hidden"),
    [
        (4.4, 50, False),
        (5.5, 50, False),
        (6.8, 50, True),
        (8.0, 50, True),
        (9.0, 50, True),
        (120, 6, True),
        (5, 6, False),
    ],
)
def test_typing_is_unjudged_wherever_an_event_may_hold_several_tokens(
    bytes_per_event: float, events: int, hidden: bool
) -> None:
    """Two tokens of code an event, speculative decoding, or a few large events, without any counts."""
    row = reply(
        0, 0.0, tpot=0.5, tokens_out=events, events=events, events_visible=events, tokens_visible=events,
        tokens_from="events", text_bytes=int(bytes_per_event * events), last=0.5 + 0.5 * events, end=0.5 + 0.5 * events,
    )  # fmt: skip
    assert graded([row]).typing_hidden.tolist() == [hidden]
    found = findings([row] * 20)
    assert ("more text than one token" in found["token_source"].why) is hidden
    assert (found["typing_known"].state == "fail") is hidden


def test_a_whole_answer_of_unknown_length_is_not_held_to_the_time_of_a_short_one() -> None:
    one_event = {
        "streamed": False,
        "delivery": "one_event",
        "events": 0,
        "first": None,
        "tpot": None,
        "longest_gap": None,
    }
    uncounted = reply(0, 0.0, **one_event, tokens_from="events", tokens_out=12, text_bytes=400, last=None, end=5.0)
    counted = reply(0, 0.0, **one_event, tokens_from="usage", tokens_out=12, text_bytes=50, last=None, end=5.0)
    assert graded([uncounted, counted]).by["answer"].tolist() == [UNJUDGED, STRAINED]


@pytest.mark.parametrize(
    ("asked", "used", "words"),
    [
        ("none", "none", "--usage continuous"),
        ("continuous", "none", "refuses to count"),
        ("final", "final", "sends none"),
    ],
)
def test_advice_about_counts_follows_what_was_asked_and_refused(asked: str, used: str, words: str) -> None:
    form = {"asked": {"usage": asked}, "used": {"usage": used}, "refusals": []}
    rows = [reply(0, 0.0, tpot=0.5, tokens_from="events", text_bytes=20 * 30)] * 20
    run = evidence(rows, STILL, manifest=manifest(request_form=form))
    found = {one.check: one for one in [*delivery_checks(run, graded(rows)), *token_checks(run)]}
    assert words in found["token_source"].advice
    assert words in found["typing_known"].advice


def test_figures_of_bursts_are_of_those_gaps_that_end_in_one() -> None:
    """The longest gap may have another cause: it ends in 1 token, and its length is not that of a burst."""
    stalled = {"longest_gap": 1.9, "longest_gap_visible": 1.9, "gap_tokens": 1}
    why = findings(many(bundled, 12, each=64) + many(bundled, 8, each=64, **stalled))["held_back"].why
    plain = findings(many(bundled, each=64))["held_back"].why
    size = r"about \d+ tokens after a gap of [\d.]+ s"
    assert re.findall(size, why) == re.findall(size, plain) != []
    mixed = findings(many(bundled, 8, each=64) + many(bundled, 12, each=64, **stalled))["held_back"].why
    assert "gap of" not in mixed
    assert re.search(r"about \d+ % of their tokens came 4 or more at a time\.", mixed)


def test_bursts_in_which_no_long_gap_ends_and_that_hide_nothing_are_no_warning() -> None:
    gap = {"longest_gap": 1.9, "longest_gap_visible": 1.9, "gap_tokens": 1}
    assert findings(many(bundled, each=4, rate=55.0, **gap))["held_back"].state == "pass"


def test_only_first_words_that_came_in_a_burst_are_said_to_be_late_and_by_no_more_than_they_took() -> None:
    early = {"tokens_first": 1}
    why = findings(many(bundled, 12, each=64, **early) + many(bundled, 8, each=64))["held_back"].why
    assert "In 8 of them, the first word came about " in why
    slow = findings([bundled(0, 30.0 * k, first=30.0 * k + 2.5) for k in range(20)])["held_back"].why
    assert "Their first words came about 2.5 s later" in slow


def test_held_back_names_numbers_and_the_setting() -> None:
    found = findings(many(bundled, via="nginx/1.22.1, uvicorn"))
    held = found["held_back"]
    assert held.state == "fail"
    assert "All 20 streamed replies of 8 tokens or more arrived in bursts" in held.why
    assert (
        "Their first words came about 6.9 s later as a result; in 20 of them, so did the response headers." in held.why
    )
    assert "proxy_buffering off" in held.advice
    assert "HAProxy" not in held.advice
    reads = found["unresolved_reads"]
    assert "received them together" in reads.why
    assert "workers" not in reads.advice
    assert found["typing_known"].state == "fail"


@pytest.mark.parametrize(
    ("changes", "blamed"),
    [
        ({"segments": 200}, True),
        ({"segments": None, "lag_max": 0.0001}, False),
        ({"segments": None, "lag_max": 9.0}, True),
    ],
)
def test_more_workers_are_advised_only_if_the_client_may_be_to_blame(changes: dict[str, Any], blamed: bool) -> None:
    advice = " ".join(one.advice for one in findings(many(bundled, **changes)).values())
    assert ("machine of its own" in advice or "nothing else" in advice) is blamed


def test_an_unknown_proxy_gets_the_settings_of_common_ones() -> None:
    advice = findings(many(bundled, via="corporate-gateway, uvicorn"))["held_back"].advice
    assert all(setting in advice for setting in ("proxy_buffering off", "http-no-delay", "flush_interval -1"))


@pytest.mark.parametrize("via", ["", "uvicorn", "llama.cpp"])
def test_no_proxy_is_blamed_where_no_reply_names_one(via: str) -> None:
    found = findings(many(bundled, via=via))
    failed = [one for one in found.values() if one.state == "fail"]
    assert len(failed) > 1
    assert not re.search("nginx|haproxy|caddy|proxy (collects|bundles)", " ".join(one.advice for one in failed), re.I)
    assert [one.check for one in failed if "--stream-interval 1" in one.advice] == ["held_back"], "said once"


def test_the_server_is_not_blamed_for_bursts_where_this_machine_read_late() -> None:
    found = findings(many(bundled, segments=200))
    assert "this machine read them too late" in found["unresolved_reads"].why
    assert "may be its own doing" in found["held_back"].why
    told = {name: one.advice for name, one in found.items() if one.advice}
    assert list(told) == ["held_back"]
    assert "a machine of its own" in told["held_back"]


def test_bursts_of_one_kind_are_not_denied_by_the_check_of_the_other() -> None:
    found = findings([*many(bundled), *many(reply)])
    assert (found["held_back"].state, found["held_in_events"].state) == ("fail", "pass")
    assert found["held_in_events"].why == "No reply arrived in bursts (many tokens in one event)."


@pytest.mark.parametrize(
    ("delivery", "words"), [("document", "one JSON document"), ("one_event", "all text in one event")]
)
def test_that_nothing_streams_is_said(delivery: str, words: str) -> None:
    rows = many(reply, streamed=False, delivery=delivery, first=None, tpot=None, events=0)
    found = findings(rows)["not_streamed"]
    assert found.state == "fail"
    assert words in found.why
    assert "All 20 replies" in found.why


@pytest.mark.parametrize(
    ("row", "check", "why"),
    [
        (reply(0, 0.0), "not_streamed", "The only reply that began to arrive came as a stream, as requested."),
        (
            reply(0, 0.0, streamed=False, delivery="document", first=None, tpot=None, events=0),
            "not_streamed",
            "The only reply was not streamed although a stream was requested (1 with one JSON document). It is judged",
        ),
        (bundled(), "held_back", f"The only streamed reply of {MIN_STREAM_TOKENS} tokens or more arrived in bursts"),
        (bundled(), "typing_known", "Typing speed is not judged in 1 of 1 reply (1 arrived in bursts)"),
        (reply(0, 0.0), "typing_known", "The typing speed is known for the only reply that should show one."),
        (reply(0, 0.0, tokens_claimed=0, tokens_from="events"), "usage", "contradict what arrived: 1 reply claims 0"),
        (reply(0, 0.0, tokens_claimed=None), "usage", "fit the text of the only reply that it counted."),
        (reply(0, 0.0, tokens_in=500), "prompt_lengths", "1 prompt differs from the intended length"),
    ],
)
def test_a_single_reply_is_no_plural(row: ReplyRow, check: str, why: str) -> None:
    assert why in findings([row])[check].why


def test_replies_that_were_not_to_be_streamed_are_no_finding() -> None:
    rows = many(reply, streamed=False, delivery="unstreamed", first=None, tpot=None, events=0)
    assert findings(rows)["not_streamed"].state == "unproven"


def test_good_replies_pass() -> None:
    assert {name: one.state for name, one in findings(many(reply)).items() if one.state != "pass"} == {}


def test_pauses_that_a_proxy_made_are_none() -> None:
    proxied, stalled = bundled(0), reply(1, 0.0, longest_gap=5.0)
    gaps = [GapRow(proxied.reply_id, 7.0, 14.0, 64, 64), GapRow(stalled.reply_id, 1.0, 6.0, 10, 1)]
    spans = find_pauses(evidence([proxied, stalled], STILL, gaps=columns(gaps, GapRow)), 2.0)
    assert spans.start.tolist() == [1.0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tokens_claimed": 0, "tokens_from": "events"}, "claim 0 tokens beside text; events are counted instead"),
        (
            {"tokens_claimed": 2000, "tokens_from": "events"},
            "claim far more tokens than their text has (median 2,000, 20",
        ),
        ({"tokens_claimed": 1, "tokens_from": "events"}, "claim far fewer tokens"),
        ({"tokens_reasoning": 50}, "claim more reasoning than completion tokens; the completion tokens are used"),
    ],
)
def test_contradicting_counts_are_said_with_the_figure_that_is_used(changes: dict[str, Any], words: str) -> None:
    found = findings(many(reply, **changes))["usage"]
    assert found.state == "fail"
    assert words in found.why
    assert "20 replies" in found.why


@pytest.mark.parametrize(("given", "state"), [(500, "fail"), (110, "pass"), (140, "pass"), (20, "fail")])
def test_prompts_are_held_against_what_was_meant(given: int, state: str) -> None:
    found = findings(many(reply, tokens_in=given))["prompt_lengths"]
    assert found.state == state
    assert ("5.0 times" in found.why) is (given == 500)


def test_a_run_behind_a_buffer_says_first_that_typing_is_unknown_and_meets_no_gate() -> None:
    rows = [bundled(u, 6.0 + 25 * k, wait=0.1, tokens=60, each=6, rate=9.5) for u in range(2) for k in range(40)]
    run = evidence(rows, staircase((2, 1020)), manifest=manifest(workers=[worker(started=len(rows))]))
    verdict = judge(run, CHAT)
    assert verdict.sentence.startswith("Without typing speed, which is not known: ")
    assert "typing" not in verdict.dimensions
    found = gate(verdict.to_json(), 2)
    assert found is not None
    assert found.outcome == "unproven"
    assert "typing speed" in found.sentence


def tool_call(user: int = 0, sent: float = 0.0, *, gap: float = 6.0, size: int = 60, **more: Any) -> ReplyRow:
    """Return a call whose arguments came at once, from a server that counts no tokens: a name, then one event."""
    found = pace(TokenEvents([sent + 0.2, sent + 0.2 + gap], [1, max(1, size // 32)], [True, True]))
    assert found is not None
    values: dict[str, Any] = {
        "first": found.first, "first_visible": found.first, "last": found.last, "end": found.last, "events": 2,
        "events_visible": 2, "tokens_out": found.tokens, "tokens_visible": found.tokens, "tokens_from": "events",
        "tpot": found.tpot, "tpot_visible": found.tpot, "longest_gap": gap, "longest_gap_visible": gap,
        "gap_start": found.gap_start, "gap_tokens": found.gap_tokens, "held_max": found.held_max,
        "tokens_held": found.tokens_held, "text_bytes": 5 + size, "segments": 3,
    }  # fmt: skip
    return reply(user, sent, **values | more)


def counter(*samples: tuple[float, float]) -> dict[str, Any]:
    """Return samples of vLLM's counter of generated tokens."""
    rows = [ServerRow(t, "http://a", "0", "generation_tokens", value) for t, value in samples]
    return {
        "server": rows,
        "manifest": manifest(server=[{"url": "http://a", "kind": "vllm"}]),
    }


@pytest.mark.parametrize(
    ("rises", "judged", "words"),
    [
        (lambda t: 50 * t, UNJUDGED, "the engine's counter of generated tokens went on rising"),
        (lambda t: 50 * (t // 20 * 20), STRAINED, ""),
        (None, UNJUDGED, "whether the model itself paused is not known"),
    ],
    ids=["rising", "standing still", "not read"],
)
def test_short_arguments_without_counts_are_told_by_the_engines_counter(rises: Any, judged: int, words: str) -> None:
    """Each call waits 6 s from 0.2 s after its sending, every 20 s; the counter may rise in between only."""
    rows = [tool_call(0, 20.0 * k + 1) for k in range(20)]
    known = counter(*[(float(t), rises(t)) for t in range(400)]) if rises else {}
    run = evidence(rows, STILL, **known)
    replies = with_generation(run)
    result = judge_replies(replies, CHAT, "shown")
    assert set(result.by["silence"].tolist()) == {judged}
    found = {one.check: one for one in delivery_checks(replace(run, replies=replies), result)}["held_in_events"]
    assert (found.state == "fail") is bool(words)
    assert words in found.why


def test_a_stall_before_held_arguments_is_a_silence_by_the_engines_counter() -> None:
    """With counts, too: what a parser held back was written in the end of the gap only."""
    rows = [tool_call(0, 20.0 * k + 1, size=400, tokens_from="usage") for k in range(20)]
    run = evidence(rows, STILL, **counter(*[(float(t), 100.0 * (t // 20)) for t in range(400)]))
    assert set(graded(rows).by["silence"].tolist()) == {UNJUDGED}
    replies = with_generation(run)
    assert set(judge_replies(replies, CHAT, "shown").by["silence"].tolist()) == {STRAINED}
    gaps = columns([GapRow(row.reply_id, row.gap_start or 0.0, row.last or 0.0, 1, 12) for row in rows], GapRow)
    assert len(find_pauses(replace(run, gaps=gaps), 2.0)) == 20
    assert len(find_pauses(evidence(rows, STILL, gaps=gaps), 2.0)) == 0


@pytest.mark.parametrize("kind", ["sglang", "tgi", "llama.cpp"])
def test_a_counter_that_rises_when_requests_finish_proves_no_stall(kind: str) -> None:
    rows = [tool_call(0, 20.0 * k + 1) for k in range(20)]
    known = counter(*[(float(t), 50.0 * (t // 20 * 20)) for t in range(400)])
    known["manifest"] = manifest(server=[{"url": "http://a", "kind": kind}])
    run = evidence(rows, STILL, **known)
    replies = with_generation(run)
    assert set(judge_replies(replies, CHAT, "shown").by["silence"].tolist()) == {UNJUDGED}
