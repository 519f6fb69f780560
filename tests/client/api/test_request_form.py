"""Request bodies of the four APIs, and what is given up after a refusal."""

from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from probe_ext.client.api.openai_api import CHAT_PATH, COMPLETION_PATH, MESSAGES_PATH, PATHS, RESPONSES_PATH
from probe_ext.client.api.request_form import RequestForm, auth_headers, poorer_form, request_body

REFUSALS = yaml.safe_load((Path(__file__).parents[2] / "fixtures" / "refusals.yaml").read_text(encoding="utf-8"))
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "é"}]


def body(path: str, prompt: Any, *, stream: bool = True, form: RequestForm | None = None, **extra: Any) -> Any:
    return orjson.loads(request_body(path, prompt, "m", stream=stream, form=form or RequestForm("none"), extra=extra))


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal["text"][:60])
def test_gives_up_what_a_refusal_names(refusal: dict[str, Any]) -> None:
    form = RequestForm.from_dict(refusal.get("form", {}))
    poorer = poorer_form(form, refusal["status"], refusal["text"])
    if refusal["next"] is None:
        assert poorer is None
        return
    assert poorer is not None
    changed = {key: value for key, value in poorer.as_dict().items() if value != form.as_dict()[key]}
    changed.pop("refused_length_fields", None)
    assert changed == refusal["next"]
    assert poorer.losses(form)


@pytest.mark.parametrize("text", ["'max_tokens' is not supported", "unknown field stream_options", "top_p unsupported"])
def test_negotiation_ends(text: str) -> None:
    form: RequestForm | None = RequestForm()
    for _ in range(5):
        form = poorer_form(form, 400, text) if form else None
    assert form is None


def test_a_form_survives_its_way_to_the_workers() -> None:
    form = RequestForm("final", "max_completion_tokens", frozenset({"top_p"}), frozenset({"max_tokens"}))
    assert RequestForm.from_dict(orjson.loads(orjson.dumps(form.as_dict()))) == form
    assert RequestForm.from_dict({}) == RequestForm()


def test_usage_is_requested_as_the_form_says() -> None:
    def options(usage: str, stream: bool = True, path: str = CHAT_PATH) -> object:
        return body(path, "hello", stream=stream, form=RequestForm(usage)).get("stream_options")

    assert options("continuous") == {"include_usage": True, "continuous_usage_stats": True}
    assert options("final") == {"include_usage": True}
    assert options("none") is None
    assert options("continuous", stream=False) is None
    assert options("continuous", path=RESPONSES_PATH) is None
    assert options("continuous", path=MESSAGES_PATH) is None


def test_builds_chat_and_completion_bodies_without_none() -> None:
    assert body(CHAT_PATH, CHAT, top_p=0.5) == {"model": "m", "stream": True, "messages": CHAT, "top_p": 0.5}
    plain = body(COMPLETION_PATH, "hi", stream=False, seed=0, temperature=None)
    assert plain == {"model": "m", "stream": False, "prompt": "hi", "seed": 0}
    assert body(CHAT_PATH, "hi")["messages"] == [{"role": "user", "content": "hi"}]


def test_builds_responses_and_messages_bodies() -> None:
    expected = {"model": "m", "stream": True, "input": CHAT, "max_output_tokens": 7, "temperature": 0.5}
    assert body(RESPONSES_PATH, CHAT, max_tokens=7, temperature=0.5) == expected
    assert body(RESPONSES_PATH, "hi")["input"] == "hi"
    messages = body(MESSAGES_PATH, CHAT, max_tokens=7)
    assert messages == {
        "model": "m", "stream": True, "system": "Be brief.", "messages": CHAT[1:], "max_tokens": 7,
    }  # fmt: skip
    assert body(MESSAGES_PATH, "hi")["max_tokens"] > 0
    parts = [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]
    assert body(MESSAGES_PATH, [{"role": "system", "content": parts}, CHAT[1]])["system"] == "Be\nbrief."


def test_a_poorer_form_changes_the_body() -> None:
    form = RequestForm("none", "max_completion_tokens", frozenset({"ignore_eos", "temperature"}))
    sent = body(CHAT_PATH, "hi", form=form, max_tokens=7, ignore_eos=True, temperature=0.1, top_p=0.9)
    assert {key: sent[key] for key in sent if key not in {"model", "stream", "messages"}} == {
        "max_completion_tokens": 7, "top_p": 0.9,
    }  # fmt: skip
    assert body(COMPLETION_PATH, "hi", form=form, max_tokens=7)["max_tokens"] == 7


def test_the_key_travels_as_each_api_expects_it() -> None:
    assert auth_headers(CHAT_PATH, None) == []
    assert auth_headers(CHAT_PATH, "k") == ["Authorization: Bearer k"]
    assert "x-api-key: k" in auth_headers(MESSAGES_PATH, "k")
    assert any(line.startswith("anthropic-version: ") for line in auth_headers(MESSAGES_PATH, None))


def test_every_api_has_a_path() -> None:
    assert set(PATHS) == {"chat", "completion", "responses", "messages"}
