"""Replies that fail alike for a reason unrelated to load prove nothing, and the answer is the server's own words."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest
from worlds import CHAT, asked, evidence, good, manifest, reply, staircase, worker

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow
from probe_ext.report.outputs.gate import gate
from probe_ext.report.outputs.summary_and_junit import junit, summary
from probe_ext.report.sections.page import page
from probe_ext.settings.options import OPTIONS
from probe_ext.verdict.checks import failure_causes
from probe_ext.verdict.checks.failure_causes import Failure
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.judgement import Judgement

UNKNOWN_FIELD = {"outcome": Outcome.HTTP_ERROR, "status": 400, "message": "HTTP 400: Unknown parameter: 'foo'"}
BUSY = {"outcome": Outcome.REJECTED, "status": 503, "message": "HTTP 503: overloaded"}
GATEWAY = {"outcome": Outcome.HTTP_ERROR, "status": 502, "message": "HTTP 502: HTML page “502 Bad Gateway”"}


def failed(users: int, start: float = 0.0, seconds: float = 55.0, **how: Any) -> list[ReplyRow]:
    nothing = {"first": None, "tpot": None, "tokens_out": None, "longest_gap": None}
    return [reply(u, t, **nothing, end=t + 0.05, **how) for u, t in asked(users, start, seconds)]


def judged(rows: list[ReplyRow], *steps: tuple[int, float], warm_up: list[tuple[int, int]] | None = None) -> Judgement:
    rounds = [{"requests": n, "failed": bad} for n, bad in warm_up or ()]
    known = manifest(workers=[worker(started=len(rows))], warm_up={"rounds": rounds} if rounds else None)
    return judge(evidence(rows, staircase(*steps), manifest=known), CHAT)


def is_spoilt(verdict: Judgement) -> bool:
    found = [one for one in verdict.findings if one.check == "equal_failures"]
    assert len(found) == 1
    return found[0].makes_invalid


@pytest.mark.parametrize(
    "how",
    [
        UNKNOWN_FIELD,
        GATEWAY,
        BUSY,
        {
            "outcome": Outcome.HTTP_ERROR,
            "status": 307,
            "message": "HTTP 307: redirect to https://x/v1/chat/completions",
        },
        {"outcome": Outcome.BAD_DATA, "status": 200, "message": "HTML page “Sign in” instead of a reply"},
        {"outcome": Outcome.STREAM_ERROR, "status": 200, "message": "400: prompt is longer than the context"},
        {"outcome": Outcome.CONNECT_FAILED, "status": None, "message": "Connection refused"},
        {"outcome": Outcome.TRUNCATED, "status": 200, "message": "the stream ended without a finish reason"},
        {"outcome": Outcome.EMPTY, "status": 200, "message": None},
    ],
    ids=lambda how: f"{how['outcome'].value} {how['status']}",
)
@pytest.mark.parametrize("users", [1, 8])
def test_nothing_but_equal_failures_is_no_answer(how: dict[str, Any], users: int) -> None:
    verdict = judged(failed(users, **how), (users, 55))
    assert is_spoilt(verdict)
    assert (verdict.verdict, verdict.served_users, verdict.bracket) == ("invalid", None, (None, None))
    assert verdict.sentence.endswith("Reported result: nothing was measured.")
    assert (how["message"] or "no text").rstrip(".") in verdict.sentence
    assert gate(verdict.to_json(), 1).outcome == "unproven"  # type: ignore[union-attr]


def test_every_output_has_the_servers_words_and_the_option() -> None:
    rows = failed(2, **UNKNOWN_FIELD)
    verdict = judged(rows, (2, 55))
    capacity = verdict.to_json()
    shown_page = page(capacity, evidence(rows, staircase((2, 55)), manifest=manifest()), CHAT)
    shown = [verdict.sentence, json.dumps(capacity), ET.canonicalize(junit(capacity, None))]
    shown += [summary(shown_page, capacity, None).splitlines()[0], shown_page.answer.before, shown_page.title]
    for text in shown:
        assert "Unknown parameter: 'foo'" in text
        assert "--body" in text
    assert shown_page.invalid_because == [], "the first sentence says all of it"


def test_a_refused_key_is_said_in_the_servers_words() -> None:
    refused = {"outcome": Outcome.HTTP_ERROR, "status": 401, "message": "HTTP 401: Incorrect API key"}
    verdict = judged(failed(2, **refused), (2, 55))
    assert (verdict.verdict, verdict.served_users) == ("invalid", None)
    assert "Incorrect API key" in verdict.sentence
    assert "PROBE_API_KEY" in verdict.sentence


@pytest.mark.parametrize(
    ("how", "spoilt"),
    [
        (UNKNOWN_FIELD, True),
        ({"outcome": Outcome.HTTP_ERROR, "status": 404, "message": "HTTP 404: no such model"}, True),
        ({"outcome": Outcome.REJECTED, "status": 429, "message": "HTTP 429: You exceeded your current quota"}, True),
        ({"outcome": Outcome.REJECTED, "status": 429, "message": "HTTP 429: too many requests"}, False),
        (BUSY, False),
        (GATEWAY, False),
        ({"outcome": Outcome.HTTP_ERROR, "status": 500, "message": "HTTP 500"}, False),
        ({"outcome": Outcome.HTTP_ERROR, "status": 408, "message": "HTTP 408"}, False),
        ({"outcome": Outcome.CUT, "status": 200, "message": "the connection closed in mid-reply"}, False),
    ],
    ids=lambda value: str(value.get("message")) if isinstance(value, dict) else None,
)
def test_what_begins_later_spoils_the_run_only_if_load_never_makes_it(how: dict[str, Any], spoilt: bool) -> None:
    verdict = judged([*good(2), *failed(16, 55.0, **how)], (2, 55), (16, 55))
    assert is_spoilt(verdict) is spoilt
    assert (verdict.verdict == "invalid") is spoilt
    if spoilt:
        assert "from 1:00 on" in verdict.sentence
        assert str(how["message"]) in verdict.sentence
    else:
        assert verdict.bracket[1] == 16, "the server's answer to this load"


def test_a_server_that_is_gone_from_a_level_on_fails_nothing() -> None:
    refused = {"outcome": Outcome.CONNECT_FAILED, "status": None, "message": "Connection refused"}
    verdict = judged([*good(2), *failed(16, 55.0, **refused)], (2, 55), (16, 55))
    assert not is_spoilt(verdict)
    assert verdict.bracket[1] is None
    assert next(found.state for found in verdict.findings if found.check == "server_gone") == "fail"


def test_waiting_in_vain_is_the_servers_answer() -> None:
    slow = {"outcome": Outcome.TIMEOUT_FIRST, "status": None, "message": "no token within 120 s"}
    verdict = judged(failed(1, **slow), (1, 55))
    assert not is_spoilt(verdict)
    assert verdict.bracket == (None, 1)


@pytest.mark.parametrize(("answered", "users", "spoilt"), [(1, 16, False), (16, 16, True), (1, 1, True), (0, 16, True)])
def test_the_warm_up_tells_load_from_other_reasons(answered: int, users: int, spoilt: bool) -> None:
    rounds = [(1, 0 if answered else 1), *([(answered, 0)] if answered else [])]
    assert is_spoilt(judged(failed(users, **BUSY), (users, 55), warm_up=rounds)) is spoilt


def test_a_sample_during_the_start_of_many_users_is_no_level() -> None:
    rows = failed(16, **BUSY)
    users = [replace(row, users=2) if row.t < 2 else row for row in staircase((16, 55))]
    known = manifest(workers=[worker(started=len(rows))], warm_up={"rounds": [{"requests": 4, "failed": 0}]})
    assert not is_spoilt(judge(evidence(rows, users, manifest=known), CHAT))


def test_a_few_bad_requests_are_no_reason_to_doubt() -> None:
    rows = [*good(8, seconds=110), *failed(8, seconds=7, **UNKNOWN_FIELD)[:1]]
    assert not is_spoilt(judged(rows, (8, 110)))


@pytest.mark.parametrize(
    ("status", "message", "option"),
    [
        (400, "This model's maximum context length is 2048 tokens", "--input-tokens"),
        (400, "HTTP 400: max_tokens is too large: 50000. This model supports at most 16384", "--max-tokens"),
        (413, "HTTP 413: HTML page “413 Request Entity Too Large”", "--input-tokens"),
        (404, "HTTP 404: The model `x` does not exist.", "--model"),
        (400, "HTTP 400: bge-m3 does not support chat", "--model"),
        (404, "HTTP 404: Not Found", "--host"),
        (405, "HTTP 405: Method Not Allowed", "--host"),
        (403, "HTTP 403: Forbidden", "--header-env"),
        (415, "HTTP 415", "--header"),
        (422, "HTTP 422: Field required: tenant", "--body"),
        (308, "HTTP 308: redirect to https://api/v1/chat/completions", "--host"),
        (400, "HTTP 400: Streaming is not supported for this model", "--no-stream"),
        (401, "HTTP 401: no key", "PROBE_API_KEY"),
        (400, "HTTP 400: Input length 9000 exceeds maximum allowed token length 8192", "--input-tokens"),
        (422, "HTTP 422: inputs tokens + max_new_tokens must be <= 4096. Given: 4000", "--input-tokens"),
        (400, "HTTP 400: The plain HTTP request was sent to HTTPS port", "https://"),
        (400, "HTTP 400: Client sent an HTTP request to an HTTPS server.", "https://"),
        (400, "HTTP 400: model is required", "--model"),
        (421, "HTTP 421: Misdirected Request", "--host"),
        (426, "HTTP 426: Upgrade Required", "HTTP/1.1"),
        (431, "HTTP 431: Request Header Fields Too Large", "--header"),
    ],
)
def test_names_the_option_that_helps(status: int, message: str, option: str) -> None:
    failure = Failure(Outcome.HTTP_ERROR.value, status, message)
    assert option in failure.advice
    assert failure.is_never_load


def test_every_option_in_advice_exists() -> None:
    known = {option.flag for option in OPTIONS} | {"--host", "--max-model-len"}
    flags = {flag for _, advice in failure_causes._ADVICE for flag in re.findall(r"--[a-z][a-z-]*", advice)}
    assert flags
    assert flags <= known


def test_of_several_reasons_the_commonest_is_named() -> None:
    other = {"outcome": Outcome.HTTP_ERROR, "status": 404, "message": "HTTP 404: gone"}
    verdict = judged([*failed(4, **UNKNOWN_FIELD), *failed(4, 55.0, 12.0, **other)], (4, 67))
    assert "Unknown parameter" in verdict.sentence
