"""Streaming, token counts, tool calls and reasoning, as a doctor sees them."""

import re
from typing import Any

import pytest
from look_helpers import reply, subject_on

from probe_ext.inspection.check_result import Status
from probe_ext.inspection.replies.answer_length import judged_lengths
from probe_ext.inspection.replies.forms import judged_tool_call, reasoning
from probe_ext.inspection.replies.streaming import streaming
from probe_ext.inspection.replies.usage import usage
from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.checks.proxy_settings import proxy_advice
from tests.in_process_sim import running_sim

ONE_BY_ONE = tuple(n / 50 for n in range(1, 41))
IN_BURSTS = tuple((n // 10 + 1) / 5 for n in range(40))
"""ten events at a time, every 0.2 s"""


def test_one_by_one_is_fine() -> None:
    finding = streaming([reply(*ONE_BY_ONE)] * 3)
    assert (finding.status, finding.figures["events"]) == (Status.OK, 120)
    assert "20 ms apart (by the kernel's timestamps)" in finding.evidence


@pytest.mark.parametrize(
    ("changes", "who"),
    [
        ({}, "the server, or something in front of it, holds bytes back"),
        ({"via": "nginx/1.24, uvicorn"}, "nginx/1.24 may hold bytes back"),
        ({"via": "gate"}, "the server, or something in front of it, holds bytes back"),
        ({"lags": (0.15,) * 40}, "is unknown: this machine read them 0.15 s late"),
        ({"stamped": False}, "is unknown: the kernel does not timestamp them"),
    ],
)
def test_bursts_and_what_makes_them(changes: dict[str, Any], who: str) -> None:
    finding = streaming([reply(*IN_BURSTS, **changes)])
    assert finding.status is Status.WARN
    assert finding.evidence.startswith("40 token events came in 4 bursts, on average 10 together, 0.20 s apart")
    assert re.search(who, finding.evidence)


@pytest.mark.parametrize(
    ("events", "wait", "status"), [(16, 0.3, Status.WARN), (48, 0.3, Status.PROBLEM), (16, 0.03, Status.OK)]
)
def test_all_events_at_once(events: int, wait: float, status: Status) -> None:
    finding = streaming([reply(*[wait] * events)] * 2)
    assert (finding.status, f"All {events} token events" in finding.evidence) == (status, status is not Status.OK)


def test_fast_tokens_that_share_a_read_are_no_bursts_and_not_one_by_one_either() -> None:
    finding = streaming([reply(*[n // 4 / 250 for n in range(100)])])
    assert finding.status is Status.OK
    assert finding.evidence.startswith("100 token events came in 25 arrivals, 4.0 ms apart")


@pytest.mark.parametrize("via", ["nginx/1.24, uvicorn", "haproxy", "Kong, uvicorn", "IIS, unknown", None])
@pytest.mark.parametrize("at", [IN_BURSTS, (0.5,) * 40])
def test_the_setting_is_the_one_that_a_report_names(via: str | None, at: tuple[float, ...]) -> None:
    named = via.split(", ") if via else ()
    assert streaming([reply(*at, via=via)]).advice == proxy_advice(named)


def test_several_tokens_in_an_event() -> None:
    finding = streaming([reply(*ONE_BY_ONE, tokens_out=160)])
    assert (finding.status, finding.evidence[:25]) == (Status.WARN, "4.0 tokens in each event:")
    assert "--stream-interval" in (finding.advice or "")


@pytest.mark.parametrize(("delivery", "advice"), [("document", "--no-stream"), ("one_event", "fake stream")])
def test_what_is_not_streamed_is_a_problem(delivery: str, advice: str) -> None:
    finding = streaming([reply(streamed=False, tokens_out=40, delivery=delivery, via="nginx")])
    assert finding.status is Status.PROBLEM
    assert advice in (finding.advice or "")
    assert "proxy_buffering" not in (finding.advice or ""), "buffering makes no document out of a stream"
    assert "replies name nginx" in finding.evidence


def test_too_few_events_and_no_reply_are_unknown() -> None:
    assert streaming([reply(1.0, 2.0)]).status is Status.UNKNOWN
    assert streaming([]).status is Status.UNKNOWN


def test_no_reply_at_all_is_a_problem_in_the_servers_words() -> None:
    finding = streaming([reply(outcome=Outcome.HTTP_ERROR, status=400, message="HTTP 400: no chat template")])
    assert (finding.status, finding.evidence) == (Status.PROBLEM, "Requests fail: HTTP 400: no chat template.")


@pytest.mark.parametrize(
    ("personality", "status", "words"),
    [
        ("vllm", Status.OK, "token events came"),  # one by one, unless the machine is busy
        ("lumps", Status.WARN, "bursts"),
        ("unstreamed", Status.PROBLEM, "not streamed"),
        ("chunky", Status.WARN, "tokens in each event"),
    ],
)
def test_streaming_of_simulated_servers(personality: str, status: Status, words: str) -> None:
    with running_sim(personality) as sim:
        finding = streaming(subject_on(sim.url).samples)
    assert (finding.status, words in finding.evidence) == (status, True), finding


@pytest.mark.parametrize(
    ("personality", "status", "words"),
    [
        ("vllm", Status.OK, "Usage is correct: 48 tokens, and the server's tokenizer counts 48"),
        ("chunky", Status.OK, "Usage is correct: 48 tokens, and the server's tokenizer counts 48"),
        ("no-usage", Status.WARN, "sends no usage"),
        ("wrong-usage", Status.PROBLEM, "Usage says 96 tokens; the server's own tokenizer counts 48"),
    ],
)
def test_token_counts_of_simulated_servers(personality: str, status: Status, words: str) -> None:
    with running_sim(personality, speed=4.0) as sim:
        finding = usage(subject_on(sim.url))
    assert (finding.status, words in finding.evidence) == (status, True), finding


def test_tool_calls() -> None:
    called = {"finish_reason": "tool_calls", "text": '{"colour":"green"}'}
    assert (
        judged_tool_call(reply(*ONE_BY_ONE, **called), "vllm").evidence
        == "A call arrives in 40 token events, as it is generated."
    )
    held = judged_tool_call(reply(1.0, tokens_out=30, event_tokens=(30,), **called), "vllm")
    assert (held.status, "held back" in held.evidence) == (Status.WARN, True)
    assert "Tools are ignored" in judged_tool_call(reply(*ONE_BY_ONE), "vllm").evidence
    whole = judged_tool_call(reply(streamed=False, tokens_out=64, text="word"), "vllm")
    assert (whole.status, whole.evidence) == (
        Status.OK,
        "Tools are ignored: the reply is text, not streamed. That matters only if your requests have tools.",
    )
    refused = reply(
        outcome=Outcome.HTTP_ERROR, status=400, message='HTTP 400: "auto" tool choice requires \x1b[31m', text=""
    )
    finding = judged_tool_call(refused, "vllm")
    assert (finding.status, finding.evidence.isprintable()) == (Status.OK, True)
    assert "--enable-auto-tool-choice" in (finding.advice or "")


def test_a_call_that_a_parser_held_back_is_not_taken_for_text() -> None:
    # As recorded: the name, then all arguments, and `stop` for a named tool; without running counts.
    recorded = reply(1.0, 1.2, text="set_colourtrue", finish_reason="stop", tokens_out=50, event_tokens=(1, 1))
    assert judged_tool_call(recorded, "vllm").status is Status.WARN
    chunky = reply(*ONE_BY_ONE, text='set_colour{"colour":"green"}', tokens_out=160, event_tokens=(4,) * 40)
    assert judged_tool_call(chunky, "vllm", usual=4.0).status is Status.OK
    cut = reply(text="", tokens_out=128, outcome=Outcome.NO_ANSWER)
    assert judged_tool_call(cut, "vllm").status is Status.UNKNOWN
    thinking = reply(*ONE_BY_ONE, text="", reasoning="hmm", outcome=Outcome.NO_ANSWER)
    assert "reasons first" in judged_tool_call(thinking, "vllm").evidence


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>\n{"name": "set_colour", "arguments": {"colour": "green"}}\n</tool_call>',
        '[TOOL_CALLS][{"name": "set_colour", "arguments": {}}]',
        '<|python_tag|>{"name": "set_colour", "parameters": {"colour": "green"}}',
        '{"name": "set_colour", "parameters": {"colour": "green"}}',
        "<function=set_colour>{}</function>",
        '```json\n{"name": "set_colour"}\n```',
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>set_colour",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.set_colour:0",
        'functools[{"name": "set_colour", "arguments": {}}]',
    ],
)
def test_a_call_as_text_is_said_to_lack_a_parser(text: str) -> None:
    finding = judged_tool_call(reply(*ONE_BY_ONE, text=text), "vllm")
    assert (finding.status, "as text" in finding.evidence) == (Status.WARN, True)
    assert "--tool-call-parser" in (finding.advice or "")


def lengths(*replies: Any, obeys: bool = False, asked: int = 48) -> tuple[Status, str]:
    finding = judged_lengths(replies, asked, lambda: obeys)
    return finding.status, finding.evidence


def test_replies_cut_to_the_first_token_are_a_problem_where_the_server_contradicts_itself() -> None:
    one = reply(1.0, finish_reason="stop")
    assert lengths(one, one, obeys=True)[0] is Status.PROBLEM
    status, evidence = lengths(one, one)
    assert (status, "the model answers briefly" in evidence) == (Status.WARN, True)
    limited = reply(*ONE_BY_ONE[:16], finish_reason="length")
    status, evidence = lengths(limited, limited)
    assert (status, "16 of 48 tokens" in evidence, "lowers it" in evidence) == (Status.PROBLEM, True, True)


def test_replies_that_end_by_themselves_are_not_called_cut() -> None:
    short = reply(*ONE_BY_ONE[:12], finish_reason="stop")
    assert lengths(short, reply(*ONE_BY_ONE[:20], finish_reason="stop"), obeys=True) == (
        Status.OK,
        "2 replies had 12 to 20 of 48 tokens asked for.",
    )
    assert lengths(reply(*ONE_BY_ONE, finish_reason="length"), asked=40)[0] is Status.OK
    # A server that does not count may send several tokens in an event.
    uncounted = reply(*ONE_BY_ONE[:12], finish_reason="length", tokens_from="events")
    assert lengths(uncounted)[0] is Status.UNKNOWN
    half = reply(*ONE_BY_ONE, finish_reason="length", tokens_out=20)  # wrong usage is a finding of its own
    assert lengths(half, asked=40)[0] is Status.OK


def test_reasoning() -> None:
    with running_sim(speed=8.0) as sim:
        subject = subject_on(sim.url)
    assert reasoning(subject).evidence == "None in 3 replies."
    subject.samples = [reply(*ONE_BY_ONE, reasoning="hmm", text="", outcome=Outcome.NO_ANSWER)]
    finding = reasoning(subject)
    assert finding.status is Status.WARN
    assert "--max-tokens (128)" in (finding.advice or "")
    subject.samples = [reply(*ONE_BY_ONE, reasoning="hmm")]
    assert reasoning(subject).status is Status.OK
    assert "in a field of its own" in reasoning(subject).evidence
    subject.samples = [reply(*ONE_BY_ONE, reasoning="<think>hmm</think>")]
    assert "between tags" in reasoning(subject).evidence
