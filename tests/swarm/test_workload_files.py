"""Before a workload's run: its files are counted with what the kind adds, and synthetic prompts are checked."""

import json
from pathlib import Path
from typing import Any

import pytest

from probe_ext.access.file_prompts.file_lengths import PreparedFiles
from probe_ext.access.file_prompts.prompt_files import PromptFiles
from probe_ext.access.file_prompts.request_counts import RequestCounter
from probe_ext.client.wire.address import parse_target
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.swarm.preparation.target_probe import PreparedWorkload
from probe_ext.swarm.preparation.workload_files import check_lengths_of, read_files
from probe_ext.target.control.call_result import Answer, Failed
from probe_ext.workload.workload_file import Workload

TARGET = parse_target("http://server:8000")


class Server:
    """Has a tokenizer endpoint that counts `per_word` tokens a word, and five for the template."""

    def __init__(self, per_word: float = 1.0) -> None:
        self.per_word = per_word

    def post(self, url: str, payload: dict[str, Any], timeout: float | None = None) -> Answer | Failed:
        if not url.endswith("/tokenize"):
            return Failed("404", 404)
        messages = payload.get("messages") or [{"content": payload["prompt"]}]
        words = sum(len(message["content"].split()) for message in messages)
        return Answer(200, json.dumps({"count": round(self.per_word * words) + 5}).encode())


def checked(kinds: list[dict[str, Any]], server: Server | None = None) -> PreparedFiles:
    workload, files = Workload.model_validate({"name": "team", "kinds": kinds}), PromptFiles()
    options = read_options({"max_tokens": "100"})

    def counters(chosen: Any) -> RequestCounter:
        return RequestCounter(TARGET, "m", chosen, server or Server())  # type: ignore[arg-type]

    read_files(workload, files)
    return check_lengths_of(workload, options, {}, 1000, files, counters)


def test_files_are_counted_with_what_the_kind_adds(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("one two three\n" + "x " * 890 + "\n" + "y " * 910)
    kind = {
        "name": "chat",
        "prompts": {"file": str(path), "tokens": 400},
        "system_prompt": {"text": "be very brief"},
        "output_tokens": 90,
    }
    made = checked([kind, {"name": "other"}])
    (file,) = made.files
    assert (file.kind, file.left_out, file.room) == ("chat", (2,), 90)
    assert file.mean_tokens == (11 + 898) / 2
    prepared = PreparedWorkload(None, None, None, 0, ("note",)).with_files(made)  # type: ignore[arg-type]
    assert prepared.notes[0] == "note"
    assert "2 prompts with 454 tokens on average" in prepared.notes[1]
    assert [finding["state"] for finding in prepared.findings] == ["fail", "fail"]
    assert "1 prompt is too long" in prepared.findings[0]["why"]
    assert "12 % more than the 400" in prepared.findings[1]["why"]


def test_errors_name_workload_kind_file_and_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt"')
    with pytest.raises(SettingsError, match=r"^workload team: chat: prompts\.file: .+p\.jsonl:2: is not valid JSON"):
        checked([{"name": "chat", "prompts": {"file": str(path)}}])
    assert capfd.readouterr() == ("", ""), "no traceback"
    path.write_text(json.dumps({"prompt": "a " * 2000}))
    with pytest.raises(SettingsError, match=r"^workload team: chat: prompts\.file: .+p\.jsonl: every prompt is"):
        checked([{"name": "chat", "prompts": {"file": str(path)}}])


@pytest.mark.parametrize("api", ["chat", "completion"])
def test_synthetic_prompts_of_another_length_are_told(api: str) -> None:
    kind = {"name": "chat", "prompts": {"tokens": 200}, "api": api}
    (remark,) = checked([kind], Server(per_word=9.0)).remarks  # the estimate is four characters a token
    assert remark.state is None, "the report checks what was sent"
    assert "more tokens in synthetic prompts than the workload states" in remark.text
    assert checked([kind], Server(per_word=1.45)).remarks == ()
