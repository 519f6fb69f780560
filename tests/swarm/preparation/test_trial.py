"""The first requests: what a server refuses is given up, and one that answers nothing is noticed, whatever it says."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from probe_ext.access.prompt_source import Prompts
from probe_ext.bundled import folder
from probe_ext.client.api.openai_api import PATHS
from probe_ext.measure.outcome import Outcome
from probe_ext.settings.options import read_options
from probe_ext.swarm.preparation.preflight import Preflight, with_trial
from probe_ext.swarm.preparation.target_probe import Preparation
from probe_ext.swarm.preparation.trial import TRIES, Trial, try_server
from tests.target.loopback import Loopback, send

Script = Callable[[dict[str, Any]], tuple[int, bytes, list[tuple[str, str]]]]
REPLIES = {
    "chat": {"choices": [{"index": 0, "delta": {"content": "hi"}}]},
    "completion": {"choices": [{"index": 0, "text": "hi"}]},
    "responses": {"type": "response.output_text.delta", "item_id": "i", "output_index": 0, "delta": "hi"},
    "messages": {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
}
REFUSALS = yaml.safe_load((Path(__file__).parents[2] / "fixtures" / "refusals.yaml").read_text(encoding="utf-8"))


class Server:
    """Answers each request as the script says, and keeps bodies and headers."""

    def __init__(self, script: Script, api: str = "chat") -> None:
        self.script, self.api = script, api
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(self.loopback.posted[-1])
        self.bodies.append(body)
        self.headers.append(dict(handler.headers))
        send(handler, *self.script(body))

    def __enter__(self) -> "Server":
        self.loopback = Loopback({PATHS[self.api]: self.answer})
        self.loopback.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.loopback.__exit__()

    def tried(self, **given: str) -> Trial:
        options = read_options({"api": self.api, "input_tokens": "50", **given})
        prompts = Prompts({}, options, 1)
        return try_server(self.loopback.url, "m", options, prompts.next, lambda _: None)


def streamed(api: str) -> tuple[int, bytes, list[tuple[str, str]]]:
    return 200, f"data: {json.dumps(REPLIES[api])}\n\n".encode(), [("Content-Type", "text/event-stream")]


def refused(status: int, message: str) -> tuple[int, bytes, list[tuple[str, str]]]:
    return status, json.dumps({"error": {"message": message}}).encode(), []


def strict(*fields: str, api: str = "chat") -> Script:
    def script(body: dict[str, Any]) -> tuple[int, bytes, list[tuple[str, str]]]:
        given = {*body, *body.get("stream_options", {})}
        name = next((name for name in fields if name in given), None)
        return streamed(api) if name is None else refused(400, f"Unknown parameter: '{name}'")

    return script


@pytest.mark.parametrize("api", PATHS)
def test_a_server_that_answers_is_asked_once(api: str) -> None:
    with Server(lambda _: streamed(api), api) as server:
        found = server.tried()
    assert (found.failure, found.tries, found.negotiated.losses) == (None, 1, [])
    assert len(server.bodies) == 1


@pytest.mark.parametrize("api", PATHS)
def test_refused_fields_are_given_up(api: str) -> None:
    with Server(strict("ignore_eos", "temperature", "continuous_usage_stats", api=api), api) as server:
        found = server.tried(ignore_eos="true", temperature="0.5", top_p="0.9")
    assert found.failure is None
    assert found.negotiated.form.left_out == {"ignore_eos", "temperature"}
    assert server.bodies[-1]["top_p"] == 0.9
    kept = {"continuous_usage_stats"} & {*server.bodies[-1].get("stream_options", {})}
    assert not kept
    assert "It says: “HTTP 400: Unknown parameter: 'ignore_eos'”" in finding_of(found, "request_form")["why"]


def finding_of(found: Trial, check: str) -> dict[str, Any]:
    empty = Preparation("http://x", "m", "option", [], (), {}, None, {})
    return next(finding for finding in with_trial(empty, found).findings if finding["check"] == check)


NEGOTIABLE = [one for one in REFUSALS if one["next"] and one["status"] != 200 and "form" not in one]


@pytest.mark.parametrize("refusal", NEGOTIABLE, ids=lambda one: f"{one['source']} {one['next']}")
def test_every_recorded_refusal_is_negotiated_over_http(refusal: dict[str, Any]) -> None:
    """Each refuses the default form once, as its server words it, and takes the next."""
    answers = [(refusal["status"], refusal["text"].encode(), [("Content-Type", "text/plain")])]
    with Server(lambda _: answers.pop() if answers else streamed("chat")) as server:
        found = server.tried(ignore_eos="true", temperature="0.2", top_p="0.9")
    if {"top_k", "min_tokens"} & {*refusal["next"].get("left_out", [])}:
        assert len(server.bodies) == 2, "a field that is not sent is not given up; the same form is tried again"
        return
    assert found.failure is None
    assert (len(server.bodies), found.tries) == (2, 1)
    assert server.bodies[0] != server.bodies[1]


PAGE = b"<!doctype html><title>Sign in</title>"
UNANSWERED: dict[str, tuple[Script, str, str]] = {
    "unknown field": (lambda _: refused(400, "tenant is required"), "tenant is required", "--body"),
    "no key": (lambda _: refused(401, "Missing bearer token"), "Missing bearer token", "PROBE_API_KEY"),
    "forbidden": (lambda _: refused(403, "not allowed"), "not allowed", "--header-env"),
    "no such path": (lambda _: (404, b'{"detail":"Not Found"}', []), "Not Found", "--host"),
    "no such model": (lambda _: refused(404, "The model `m` does not exist."), "does not exist", "--model"),
    "no POST": (lambda _: (405, b"Method Not Allowed", []), "Method Not Allowed", "--host"),
    "too large": (lambda _: (413, b"<html><h1>413 Request Entity Too Large</h1>", []), "Too Large", "--input-tokens"),
    "media type": (lambda _: (415, b"", []), "HTTP 415", "--header"),
    "validation": (lambda _: refused(422, "Field required: tenant"), "Field required", "--body"),
    "redirect": (
        lambda _: (307, b"", [("Location", "https://user:pw@api.example/v1/chat/completions?key=s3cr3t")]),
        "redirect to https://api.example/v1/chat/completions.",
        "--host",
    ),
    "bad gateway": (lambda _: (502, b"<html><title>502 Bad Gateway</title>", []), "502 Bad Gateway", "wait until"),
    "still loading": (lambda _: refused(503, "Loading model"), "Loading model", "wait until"),
    "quota": (lambda _: refused(429, "You exceeded your current quota"), "exceeded your current quota", "quota"),
    "a page": (lambda _: (200, PAGE, [("Content-Type", "text/html")]), "HTML page “Sign in”", "--host"),
    "an error in the stream": (
        lambda _: (200, b'data: {"error":{"message":"prompt exceeds the context window","code":400}}\n\n', []),
        "context window",
        "--input-tokens",
    ),
    "embedding model": (
        lambda _: refused(400, "bge-m3 does not support chat"), "does not support chat", "--model"
    ),
    "no streaming": (
        lambda _: refused(400, "Streaming is not supported for this model"), "not supported", "--no-stream"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNANSWERED)
def test_a_server_that_answers_nothing_is_named_in_its_own_words(kind: str) -> None:
    script, words, option = UNANSWERED[kind]
    with Server(script) as server:
        found = server.tried()
    assert found.failure is not None
    assert len(server.bodies) == TRIES
    finding = finding_of(found, "equal_failures")
    assert finding["invalidates"]
    assert words in finding["why"]
    assert option in finding["advice"]
    assert "s3cr3t" not in str(finding)
    assert "pw@" not in str(finding)


def test_a_port_without_a_server_is_named() -> None:
    with Server(lambda _: streamed("chat")) as server:
        pass
    found = server.tried()
    assert found.failure is not None
    assert found.failure.outcome == Outcome.CONNECT_FAILED
    assert "--host" in found.failure.advice


def test_one_accident_is_forgiven() -> None:
    answers = [(502, b"", []), (500, b"", [])]
    with Server(lambda _: answers.pop() if answers else streamed("chat")) as server:
        found = server.tried()
    assert (found.failure, found.tries) == (None, 3)


def test_accidents_of_different_kinds_are_not_alike() -> None:
    answers = [refused(400, "x"), (502, b"", []), (404, b"", [])]
    with Server(lambda _: answers.pop()) as server:
        assert server.tried().failure is None


def test_a_slow_server_is_measured() -> None:
    import time  # noqa: PLC0415

    def slow(_: dict[str, Any]) -> tuple[int, bytes, list[tuple[str, str]]]:
        time.sleep(0.6)
        return streamed("chat")

    with Server(slow) as server:
        found = server.tried(timeout_connect="0.2s")
    assert found.failure is None
    assert len(server.bodies) == 1


def test_requests_are_as_long_as_the_runs_and_carry_what_a_gateway_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_KEY", "s3cr3t-value")
    body = '{"top_k": 3, "chat_template_kwargs": {"enable_thinking": false}}'
    extras = {"header": "X-Tenant: blue\nHost: llama.example", "header_env": "X-Key=GATEWAY_KEY", "body": body}
    with Server(lambda _: refused(400, "bad key s3cr3t-value")) as server:
        found = server.tried(input_tokens="500", max_tokens="77", **extras)
    sent, headers = server.bodies[0], server.headers[0]
    assert (sent["max_tokens"], sent["top_k"]) == (77, 3)
    assert len(sent["messages"][-1]["content"]) > 1000
    assert (headers["X-Tenant"], headers["Host"], headers["X-Key"]) == ("blue", "llama.example", "s3cr3t-value")
    assert found.failure is not None
    assert found.failure.message == "HTTP 400: bad key ***"


def test_a_field_of_the_user_is_never_given_up() -> None:
    with Server(strict("top_k")) as server:
        found = server.tried(body='{"top_k": 3}')
    assert found.failure is not None
    assert all(sent["top_k"] == 3 for sent in server.bodies)
    assert "--body" in found.failure.advice


@pytest.mark.parametrize(("file", "status", "excused"), [
    ("mine.py", 400, True), ("mine.py", 422, True), ("mine.py", 404, False), ("capacity.py", 400, False),
])  # fmt: skip
def test_a_locustfile_of_ones_own_may_send_other_fields(file: str, status: int, excused: bool, tmp_path: Path) -> None:
    path = tmp_path / file if file == "mine.py" else folder("locustfiles") / file
    environment = SimpleNamespace(parsed_options=SimpleNamespace(locustfile=str(path)))
    preflight = Preflight(SimpleNamespace(environment=environment), lambda _: None)  # type: ignore[arg-type]
    with Server(lambda _: refused(status, "tenant is required")) as server:
        found = server.tried()
    assert (preflight._excused(found).failure is None) is excused
