"""Prompt files are counted by the server before a run: what is too long, what is off, what cannot be sent."""

import json
from pathlib import Path
from typing import Any

import pytest

from probe_ext.access.file_prompts.file_lengths import PreparedFiles, prepare_files
from probe_ext.access.file_prompts.file_remarks import FileUse
from probe_ext.access.file_prompts.prompt_files import PromptFiles
from probe_ext.access.file_prompts.request_counts import MAX_GENERATIONS, RequestCounter
from probe_ext.client.wire.address import parse_target
from probe_ext.prompts.prompt import Prompt
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.target.control.call_result import Answer, Failed

TARGET = parse_target("http://server:8000")
TEMPLATE, IMAGE, TOOL = 7, 100, 50


class Server:
    """Counts one token per word, by a tokenizer endpoint for text or by the usage for all that a request has."""

    def __init__(self, *, tokenize: bool = True, usage: bool = True) -> None:
        self.tokenize, self.usage = tokenize, usage
        self.generations = 0

    def post(self, url: str, payload: dict[str, Any], timeout: float | None = None) -> Answer | Failed:
        path = url.removeprefix("http://server:8000")
        if path == "/tokenize" and self.tokenize:
            return Answer(200, json.dumps({"count": self._tokens(payload, images=False)}).encode())
        if path.startswith("/v1/") and self.usage:
            self.generations += 1
            usage = {"prompt_tokens": self._tokens(payload, images=True)}
            return Answer(200, json.dumps({"usage": usage}).encode())
        return Failed("404", 404)

    @staticmethod
    def _tokens(payload: dict[str, Any], *, images: bool) -> int:
        tokens = TEMPLATE if "messages" in payload else 0
        for message in payload.get("messages") or [{"content": payload.get("prompt")}]:
            content = message["content"]
            parts = [{"text": content}] if isinstance(content, str) else content or []
            tokens += sum(len(part["text"].split()) if "text" in part else IMAGE * images for part in parts)
        return tokens + TOOL * len(payload.get("tools", []))


def used(path: Path, kind: str = "chat", **use: Any) -> FileUse:
    given = {"api": "chat", "stated_tokens": None, "longest_reply": 100, "field": None, **use}
    return FileUse(kind, str(path), **given)


def prepared(path: Path, server: Server | None = None, context: int | None = 1000, **use: Any) -> PreparedFiles:
    return prepared_for([used(path, **use)], server, context)


def prepared_for(uses: list[FileUse], server: Server | None = None, context: int | None = 1000) -> PreparedFiles:
    def counter(api: str) -> Any:
        made = RequestCounter(TARGET, "m", read_options({"api": api}), server or Server())  # type: ignore[arg-type]
        return made.count, made.samples

    return prepare_files(uses, PromptFiles(), counter, context, 7)


def texts(made: PreparedFiles) -> list[str]:
    return [remark.text for remark in made.remarks]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = Path("p.txt")
    file.write_text("\n".join(["a " * 93] * 6 + ["b " * 950] + ["c " * 890] + ["d " * 900] * 2))
    return file


def test_too_long_prompts_are_left_out_and_told(path: Path) -> None:
    made = prepared(path)
    assert made.files[0].left_out == (6, 8, 9)
    assert (made.files[0].prompts, made.files[0].room) == (7, 100)
    bound = "(more than 900 tokens; a reply of 100 must fit into the context of 1,000, too)"
    assert texts(made) == [
        "chat: p.txt: 7 prompts with 214 tokens on average, as the server counts them",
        f"chat: p.txt: 3 prompts are too long and left out {bound}: the first is p.txt:7, the longest has 957 tokens",
    ]
    assert [finding["state"] for remark in made.remarks if (finding := remark.as_finding())] == ["fail"]
    assert made.files[0].as_manifest()["left_out"] == 3
    assert json.loads(json.dumps(made.files[0].as_message()))["left_out"] == [6, 8, 9]


def test_a_file_without_a_single_fitting_prompt_is_refused(path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^chat: prompts\.file: p\.txt: every prompt is too long \(more"):
        prepared(path, context=100, longest_reply=500)  # at most half of the context is kept for the reply


def test_kinds_that_share_a_file_leave_out_the_same_and_say_so(path: Path) -> None:
    made = prepared_for([used(path, "brief", longest_reply=50), used(path, "long")])
    brief, long = made.files
    assert brief.left_out == long.left_out == (6, 8, 9)  # brief alone would leave out only the first
    assert (brief.prompts, long.prompts) == (7, 7)
    assert brief.mean_tokens == long.mean_tokens == pytest.approx((6 * 100 + 897) / 7)
    said = [text for text in texts(made) if text.startswith("brief")]
    assert said[0] == "brief: p.txt: 7 prompts with 214 tokens on average, as the server counts them"
    assert said[1].startswith("brief: p.txt: 1 prompt is too long and left out (more than 950 tokens")
    assert said[2:] == ["brief: p.txt: 2 more prompts are left out, as too long for another kind that shares the file"]
    assert not any("another kind" in text for text in texts(made) if text.startswith("long"))


def test_kinds_that_share_a_file_but_no_prompt_that_fits_both_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    lone = {"prompt": "a " * 890}
    tool = {"prompt": "b " * 10, "tools": [{"type": "function"}]}
    path.write_text(f"{json.dumps(lone)}\n{json.dumps(tool)}")

    def count(kind_limit: int) -> Any:
        return lambda prompt: TEMPLATE + (kind_limit if prompt.fields else 1000 - kind_limit), 10

    with pytest.raises(SettingsError, match=r"^a, b: prompts\.file: .+p\.jsonl: every prompt is too long for one of"):
        prepare_files(
            [used(path, "a"), used(path, "b", api="other")],
            PromptFiles(),
            lambda api: count(990 if api == "chat" else 10),
            1000,
            7,
        )


@pytest.mark.parametrize(("stated", "warned"), [(370, True), (400, False), (450, False), (480, True)])
def test_a_mean_that_is_off_is_warned_of(path: Path, stated: float, warned: bool) -> None:
    made = prepared(path, context=2000, stated_tokens=stated, system="be kind and brief", shared_prefix="x y z")
    said = [text for text in texts(made) if "states" in text]
    assert bool(said) is warned
    if stated == 480:
        assert said == [
            "chat: the prompts in p.txt have 420 tokens on average, 13 % less than the 480 that the workload states"
        ]


def test_a_server_that_does_not_count_leaves_lengths_open(path: Path) -> None:
    made = prepared(path, Server(tokenize=False, usage=False), stated_tokens=1)
    assert made.files[0].prompts == 10
    assert made.files[0].room is None
    assert texts(made) == [
        "chat: p.txt: 10 prompts, of unknown length: the server does not count tokens, so none is left out"
    ]
    assert made.remarks[0].state == "unproven"


def test_without_a_tokenizer_few_generations_tell_the_lengths(path: Path) -> None:
    server = Server(tokenize=False)
    made = prepared(path, server)
    assert made.files[0].left_out == (6, 8, 9)
    assert server.generations <= MAX_GENERATIONS


def test_images_and_tools_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    image = {"role": "user", "content": [{"type": "text", "text": "a b"}, {"type": "image_url", "image_url": {}}]}
    path.write_text(json.dumps({"messages": [image]}))
    assert prepared(path).files[0].mean_tokens == TEMPLATE + 2 + IMAGE
    path.write_text(json.dumps({"prompt": "a b", "tools": [{"type": "function"}]}))
    assert prepared(path).files[0].mean_tokens == TEMPLATE + 2 + TOOL


def test_a_chat_cannot_be_sent_as_a_completion(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a"}\n{"messages": [{"role": "system", "content": "a"}]}')
    with pytest.raises(SettingsError, match=r"^chat: prompts\.file: .+p\.jsonl:2: is a chat, which the API"):
        prepared(path, api="completion")
    path.write_text('{"prompt": "a b"}')
    assert prepared(path, api="completion").files[0].mean_tokens == 2


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^chat: prompts\.file: .+none\.txt: no such file$"):
        prepared(tmp_path / "none.txt")


def test_the_counter_says_nothing_rather_than_generating_more(tmp_path: Path) -> None:
    server = Server(tokenize=False)
    counter = RequestCounter(TARGET, "m", read_options({}), server)  # type: ignore[arg-type]
    prompt = Prompt("a", ({"role": "user", "content": "a"},), None)
    assert [counter.count(prompt) for _ in range(MAX_GENERATIONS + 1)] == [TEMPLATE + 1] * MAX_GENERATIONS + [None]
