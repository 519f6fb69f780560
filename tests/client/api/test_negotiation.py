"""Fields are given up one at a time until a server answers; a refusal of anything else ends the negotiation."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from probe_ext.client.api.negotiation import NEGOTIABLE_FIELDS, TrialReply, negotiate
from probe_ext.client.api.openai_api import PATHS
from probe_ext.client.api.request_form import RequestForm, request_body

OPTIONS = {"max_tokens": 8, "temperature": 0.2, "top_p": 0.9, "ignore_eos": True}


class Server:
    """Refuses fields by name, the first of them first, as strict servers do."""

    def __init__(self, *refused: str, api: str = "chat", wording: str = "Unknown parameter: '{}'") -> None:
        self.refused, self.wording, self.path = refused, wording, PATHS[api]
        self.bodies: list[dict[str, Any]] = []

    def __call__(self, form: RequestForm) -> TrialReply:
        body = json.loads(request_body(self.path, "hi", "m", stream=True, form=form, extra=OPTIONS))
        self.bodies.append(body)
        given = {*body, *body.get("stream_options", {})}
        name = next((name for name in self.refused if name in given), None)
        return TrialReply(True, 200) if name is None else TrialReply(False, 400, self.wording.format(name))


@pytest.mark.parametrize("api", PATHS)
def test_a_server_that_takes_everything_is_asked_once(api: str) -> None:
    server = Server(api=api)
    found = negotiate(RequestForm(), server)
    assert (found.form, found.refusals, found.losses) == (RequestForm(), (), [])
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "refused",
    [
        ("continuous_usage_stats",),
        ("include_usage", "continuous_usage_stats"),
        ("stream_options",),
        ("max_tokens",),
        ("temperature", "top_p"),
        ("ignore_eos", "continuous_usage_stats", "max_tokens", "temperature", "top_p"),
    ],
)
def test_whatever_is_refused_is_given_up_one_by_one(refused: tuple[str, ...]) -> None:
    server = Server(*refused)
    found = negotiate(RequestForm(), server)
    assert found.reply.answered
    last = server.bodies[-1]
    assert not {*last, *last.get("stream_options", {})} & set(refused)
    for before, after in zip(server.bodies, server.bodies[1:], strict=False):
        assert before != after
    assert len(found.refusals) == len(server.bodies) - 1
    assert found.losses
    kept = {*OPTIONS} - {*refused, "max_tokens"}
    assert kept <= {*last}, "what was not refused stays"


@pytest.mark.parametrize("api", ["responses", "messages", "completion"])
def test_other_apis_give_up_their_own_fields(api: str) -> None:
    server = Server("temperature", "ignore_eos", api=api, wording="{}: Extra inputs are not permitted")
    found = negotiate(RequestForm(), server)
    assert found.reply.answered
    assert found.form.left_out == {"temperature", "ignore_eos"}


def test_a_field_that_is_not_sent_is_not_given_up() -> None:
    sent: list[RequestForm] = []

    def refuse(form: RequestForm) -> TrialReply:
        sent.append(form)
        return TrialReply(False, 400, "Unknown parameter: 'temperature'")

    found = negotiate(RequestForm(), refuse, fields=("ignore_eos",))
    assert (len(sent), found.form, found.reply.answered) == (1, RequestForm(), False)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "tenant is required"),
        (401, "Unknown API key"),
        (404, "The model `x` does not exist"),
        (502, ""),
        (None, ""),
    ],
)
def test_other_failures_end_it(status: int | None, text: str) -> None:
    calls: list[RequestForm] = []
    answer: Callable[[RequestForm], TrialReply] = lambda form: calls.append(form) or TrialReply(False, status, text)  # type: ignore[func-returns-value]  # noqa: E731
    found = negotiate(RequestForm(), answer)
    assert (len(calls), found.reply.error_text, found.refusals) == (1, text, ())


def test_a_server_that_refuses_whatever_is_sent_is_left_at_last() -> None:
    words = " ".join(["unknown", *NEGOTIABLE_FIELDS, "stream_options", "max_tokens", "max_completion_tokens"])
    calls = 0

    def refuse(_: RequestForm) -> TrialReply:
        nonlocal calls
        calls += 1
        return TrialReply(False, 400, words)

    assert not negotiate(RequestForm(), refuse).reply.answered
    assert calls < 14


def test_own_fields_are_sent_whatever_the_form() -> None:
    form = RequestForm("none", "max_completion_tokens", frozenset({"temperature", "top_p"}))

    def sent(**own: Any) -> dict[str, Any]:
        raw = request_body(PATHS["chat"], "hi", "m", stream=True, form=form, extra=OPTIONS, own=own)
        return dict(json.loads(raw))

    assert sent(temperature=0.7)["temperature"] == 0.7
    assert "top_p" not in sent(temperature=0.7)
    assert sent(max_tokens=3)["max_completion_tokens"] == 3
    assert "max_tokens" not in sent(max_completion_tokens=3)
    assert "ignore_eos" not in sent(ignore_eos=None)
