"""Streaming, token counts, tool calls and reasoning, as a doctor sees them."""

import re
from typing import Any

import pytest
from look_helpers import reply, subject_on

from probe_ext.inspection.check_result import Status
from probe_ext.inspection.replies.forms import judged_tool_call, reasoning
from probe_ext.inspection.replies.streaming import streaming
from probe_ext.inspection.replies.usage import usage
from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.checks.proxy_settings import proxy_advice
from tests.in_process_sim import running_sim

ONE_BY_ONE = tuple(n / 50 for n in range(1, 41))
IN_LUMPS = tuple((n // 10 + 1) / 5 for n in range(40))
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
        ({"lags": (0.15,) * 40}, "cannot be told: this machine read them 0.15 s late"),
        ({"stamped": False}, "cannot be told: nothing stamps them"),
    ],
)
def test_bursts_and_who_makes_them(changes: dict[str, Any], who: str) -> None:
    finding = streaming([reply(*IN_LUMPS, **changes)])
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
@pytest.mark.parametrize("at", [IN_LUMPS, (0.5,) * 40])
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
        ("vllm", Status.OK, "one by one"),
        ("lumps", Status.WARN, "bursts"),
        ("unstreamed", Status.PROBLEM, "not streamed"),
        ("chunky", Status.WARN, "tokens in each event"),
    ],
)
def test_streaming_of_simulated_servers(personality: str, status: Status, words: str) -> None:
    with running_sim(personality, speed=2.0) as sim:
        finding = streaming(subject_on(sim.url).samples)
    assert (finding.status, words in finding.evidence) == (status, True), finding


@pytest.mark.parametrize(
    ("personality", "status", "words"),
    [
        ("vllm", Status.OK, "True: usage says 48 tokens, the server's tokenizer 48"),
        ("chunky", Status.OK, "True: usage says 48 tokens, the server's tokenizer 48"),
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
    whole = judged_tool_call(reply(streamed=False, tokens_out=64), "vllm")
    assert (whole.status, whole.evidence) == (Status.OK, "Tools are ignored: the reply is text, not streamed.")
    refused = reply(
        outcome=Outcome.HTTP_ERROR, status=400, message='HTTP 400: "auto" tool choice requires \x1b[31m', text=""
    )
    finding = judged_tool_call(refused, "vllm")
    assert (finding.status, finding.evidence.isprintable()) == (Status.OK, True)
    assert "--enable-auto-tool-choice" in (finding.advice or "")


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
