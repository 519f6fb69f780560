"""Prompt lengths follow the server's tokenizer, and every user gets prompts of its own."""

import itertools
import json
from typing import Any

import pytest

from probe_ext.access.prompt_source import Prompts, calibrated, prompts_for
from probe_ext.client.wire.address import parse_target
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.target.control.call_result import Answer, Failed

TARGET = parse_target("http://server:8000")
TEMPLATE = 7
"""tokens of the chat template"""


class Server:
    """Counts one token per word: with a tokenizer endpoint, in the usage, or not at all."""

    def __init__(self, *, tokenize: bool = False, usage: bool = False) -> None:
        self.tokenize, self.usage = tokenize, usage
        self.paths: list[str] = []

    def post(self, url: str, payload: dict[str, Any], timeout: float | None = None) -> Answer | Failed:
        path = url.removeprefix("http://server:8000")
        self.paths.append(path)
        messages = payload.get("messages") or [{"content": payload.get("prompt")}]
        text = messages[0]["content"]
        if text is None or (path == "/tokenize" and not self.tokenize):
            return Failed("404", 404)
        tokens = len(text.split()) + (TEMPLATE if "messages" in payload else 0)
        if path == "/tokenize":
            return Answer(200, json.dumps({"count": tokens}).encode())
        if not path.startswith("/v1/"):
            return Failed("404", 404)
        assert payload["max_tokens"] == 1
        return Answer(200, json.dumps({"usage": {"prompt_tokens": tokens}} if self.usage else {}).encode())


def options(**given: str) -> Any:
    return read_options(given)


@pytest.mark.parametrize(
    ("server", "counted_by"),
    [(Server(tokenize=True), "tokenize"), (Server(usage=True), "usage"), (Server(), "characters")],
    ids=["a tokenizer page", "usage only", "nothing"],
)
def test_length_model_uses_the_best_source_of_the_server(server: Server, counted_by: str) -> None:
    made = calibrated(TARGET, "m", options(input_tokens="200"), server, 7)
    assert made["counted_by"] == counted_by
    told = json.loads(json.dumps(made))  # it travels to the workers as plain types
    chosen = options(input_tokens="200")
    assert Prompts(told, chosen, 1).next() == Prompts(made, chosen, 1).next()
    generations = [path for path in server.paths if path.startswith("/v1/")]
    assert (len(generations) > 0) == (counted_by != "tokenize")
    assert len(generations) <= 16  # each costs the server a reply


@pytest.mark.parametrize("server", [Server(tokenize=True), Server(usage=True)], ids=["tokenize", "usage"])
@pytest.mark.parametrize("api", ["chat", "completion"])
def test_prompts_have_the_configured_length(server: Server, api: str) -> None:
    chosen = options(input_tokens="150", api=api)
    made = calibrated(TARGET, "m", chosen, server, 7)
    prompts = Prompts(made, chosen, 3)
    for prompt in (prompts.next() for _ in range(20)):
        assert prompt.text is not None
        words = len(prompt.text.split()) + (TEMPLATE if api == "chat" else 0)
        assert abs(words - 150) <= 2


def test_prompts_of_all_users_differ_from_the_start() -> None:
    chosen = options(input_tokens="60")
    made = calibrated(TARGET, "m", chosen, Server(tokenize=True), 7)
    everybody = [prompts_for(made, chosen, worker, number) for worker in (-1, 1, 2) for number in (1, 2, 3)]
    texts = [str(prompts.next().text) for prompts in everybody for _ in range(10)]
    assert len(set(texts)) == len(texts) == 90
    beginnings = {" ".join(text.split()[:6]) for text in texts}
    assert len(beginnings) == 90


def test_shared_prefix_is_the_same_and_as_long_as_configured() -> None:
    chosen = options(input_tokens="120", shared_prefix_tokens="50")
    made = calibrated(TARGET, "m", chosen, Server(tokenize=True), 7)
    texts = [str(prompts_for(made, chosen, 0, n).next().text).split() for n in range(5)]
    common = len(list(itertools.takewhile(lambda words: len(set(words)) == 1, zip(*texts, strict=False))))
    assert abs(common - 50) <= 2


def test_impossible_prompt_length_names_the_option() -> None:
    with pytest.raises(SettingsError, match=r"^--input-tokens 5: "):
        calibrated(TARGET, "m", options(input_tokens="5"), Server(tokenize=True), 7)


def test_makes_prompts_without_preparations() -> None:
    prompts = prompts_for({}, options(input_tokens="60"), -1, 0)
    assert prompts.next().text != prompts.next().text


def test_chats_share_only_the_system_prompt() -> None:
    chosen = options(input_tokens="40")
    made = calibrated(TARGET, "m", chosen, Server(tokenize=True), 7)
    one, two = (prompts_for(made, chosen, 0, n).chat(system_tokens=30) for n in (0, 1))
    first, second = one.ask().messages, two.ask().messages
    assert first[0] == second[0]
    assert first[0]["role"] == "system"
    assert abs(len(first[0]["content"].split()) - 30) <= 2
    assert first[1]["content"].split()[:4] != second[1]["content"].split()[:4]
    one.answered("so it is", 80, 3)
    longer = one.ask()
    assert longer.messages[:2] == first[:2]
    assert longer.messages[2] == {"role": "assistant", "content": "so it is"}
    assert longer.asked_tokens == 80 + 3 + 40


class StrictServer(Server):
    """Takes `max_completion_tokens` only."""

    def post(self, url: str, payload: dict[str, Any], timeout: float | None = None) -> Answer | Failed:
        if "max_tokens" in payload:
            self.paths.append("refused")
            return Failed("400", 400, b"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return super().post(url, {**payload, "max_tokens": payload.pop("max_completion_tokens", 1)})


def test_counting_by_usage_negotiates_too() -> None:
    server = StrictServer(usage=True)
    assert calibrated(TARGET, "m", options(input_tokens="200"), server, 7)["counted_by"] == "usage"
    assert server.paths.count("refused") == 1
