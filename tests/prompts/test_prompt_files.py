"""Prompts from files: every form, what passes through, and damage that is named with its line."""

import hashlib
import itertools
import json
import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from probe_ext.prompts.files import csv_rows, json_items, prompt_file, source
from probe_ext.prompts.files.prompt_file import PromptFile
from probe_ext.prompts.files.prompt_forms import only_text
from probe_ext.prompts.files.prompt_order import PromptOrder
from probe_ext.prompts.files.source import PromptFileError

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def written(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


Write = Callable[[str, str | bytes], Path]


def texts(path: Path, field: str | None = None) -> list[str | None]:
    file = PromptFile(path, field)
    return [file[number].text for number in range(len(file))]


def refusal(path: Path, field: str | None = None) -> str:
    """Return the error, which must be one printable line with the file's name."""
    with pytest.raises(PromptFileError) as error:
        PromptFile(path, field)
    said = str(error.value)
    assert said.isprintable()
    assert len(said) < 400
    return said.replace(str(path.parent) + "/", "")


def test_text_has_a_prompt_a_line(write: Write) -> None:
    path = write("p.txt", '\ufeffeins\r\n\n  two, \u2028 "three"\n  \n{four\n')
    assert texts(path) == ["eins", '  two, \u2028 "three"', "{four"]
    assert PromptFile(path).place(2).endswith("p.txt:5")


@pytest.mark.parametrize("name", ["p.jsonl", "p.ndjson", "p.json"])
def test_json_lines_hold_prompts(write: Write, name: str) -> None:
    path = write(name, '{"prompt": "one", "id": 1}\r\n\n{"prompt": "tw\\u00f6\\ntwo"}\n"three"')
    assert texts(path) == ["one", "twö\ntwo", "three"]
    assert PromptFile(path).form == "jsonl"


@pytest.mark.parametrize("name", ["p.json", "p.jsonl"])
def test_a_json_list_is_read_item_by_item(write: Write, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    items = ['a ]}\\"{[ b', {"prompt": 'x"y\\', "more": [[1, {"z": "]"}]]}, {"prompt": "ü" * 50}] * 5
    path = write(name, " \n" + json.dumps(items, indent=1, ensure_ascii=False) + "\n")
    meant = [item if isinstance(item, str) else item["prompt"] for item in items]
    for chunk in (1, 2, 7, 64, 2**20):
        monkeypatch.setattr(source.Source.read, "__defaults__", (chunk,))
        assert texts(path) == meant
    assert PromptFile(path).place(3).endswith(", item 4")


def test_messages_with_images_and_tools_pass_through_unchanged(write: Write) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "what is this?"}, IMAGE]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]},
        {"role": "tool", "tool_call_id": "1", "content": "a cat"},
    ]
    record = {"messages": messages, "tools": [TOOL], "tool_choice": "auto", "id": 7, "temperature": 2}
    prompt = PromptFile(write("p.jsonl", json.dumps(record)))[0]
    assert list(prompt.messages) == messages
    assert prompt.fields == {"tools": [TOOL], "tool_choice": "auto"}
    assert prompt.text is None
    assert not only_text(prompt.messages)
    assert prompt.text_bytes == len("be brief" + "what is this?" + "a cat") + len('"auto"') + len(
        json.dumps([TOOL], separators=(",", ":"))
    )


def test_an_answer_at_the_end_of_messages_is_not_sent(write: Write) -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d"), ("assistant", "e")]
    record = {"messages": [{"role": role, "content": text} for role, text in turns]}
    prompt = PromptFile(write("p.jsonl", json.dumps(record)))[0]
    assert [message["content"] for message in prompt.messages] == ["a", "b", "c"]
    assert prompt.later == ()


SHAREGPT = [
    ("system", "s"),
    ("gpt", "hello"),
    ("human", "a"),
    ("gpt", "b"),
    ("human", "c"),
    ("gpt", "d"),
    ("human", ""),
]


@pytest.mark.parametrize("keys", [("from", "value"), ("role", "content")])
def test_a_recorded_conversation_is_asked_turn_by_turn(write: Write, keys: tuple[str, str]) -> None:
    names = {"human": "user", "gpt": "assistant"} if keys[0] == "role" else {}
    turns = [{keys[0]: names.get(who, who), keys[1]: text} for who, text in SHAREGPT]
    listed = [{"id": "x", "conversations": turns}, {"conversations": turns[:2]}, {"conversations": []}]
    file = PromptFile(write("p.json", json.dumps(listed)))
    assert len(file) == 1
    assert file.without_prompt == 2
    assert [dict(message) for message in file[0].messages] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
    ]
    assert [dict(message) for message in file[0].later] == [{"role": "user", "content": "c"}]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_has_a_column_of_prompts(write: Write, separator: str) -> None:
    rows = ["id", "prompt", "more"], ["1", '"a, b; c\td ""e""\r\nf\u2028"', "x"], ["2", "", ""], ["3", "g", "y"]
    path = write("p.csv", "\ufeff" + "\r\n".join(separator.join(row) for row in rows) + "\r\n\r\n")
    file = PromptFile(path)
    assert [file[n].text for n in range(len(file))] == ['a, b; c\td "e"\r\nf\u2028', "g"]
    assert file.without_prompt == 1
    assert file.place(1).endswith("p.csv:5")
    assert texts(path, "more") == ["x", "y"]


def test_the_documented_examples_are_read(write: Write) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "prompt-files.md").read_text(encoding="utf-8")
    examples = page.split("```json\n")[1].split("```")[0]
    file = PromptFile(write("p.jsonl", examples))
    assert len(file) == examples.count("\n") == 5
    assert [len(file[number].messages) for number in range(5)] == [1, 2, 1, 1, 1]
    assert [bool(file[number].fields) for number in range(5)] == [False, False, False, True, False]
    assert len(file[4].later) == 1


def test_a_field_names_another_key(write: Write) -> None:
    path = write("p.jsonl", '{"q": "one", "prompt": "no"}\n{"q": [{"role": "user", "content": "two"}]}\n{"q": null}')
    assert texts(path, "q") == ["one", "two"]


DEEP = "[" * 600 + "]" * 600

DAMAGED: list[tuple[str, str | bytes, str]] = [
    ("p.txt", "", "p.txt: is empty"),
    ("p.txt", " \n\n ", "p.txt: is empty"),
    ("p.csv", "prompt\n", "p.csv: contains no prompt"),
    ("p.csv", 'prompt\n""\n', "p.csv: contains no prompt: none of its 1 entries has one"),
    ("p.txt", b"one\ntw\xf6\n", "p.txt:2: is not UTF-8 text (byte 0xf6 at byte 3)"),
    ("p.txt", "one".encode("utf-16"), "p.txt: is UTF-16 text; save it as UTF-8"),
    ("p.txt", "one\ntwo".encode("utf-16-le"), "p.txt:1: contains a NUL byte: is this a text file in UTF-8?"),
    ("p.jsonl", b"\x1f\x8b\x08\x00", "p.jsonl: is compressed (gzip); convert it"),
    ("p.json", b"PAR1\x00\x00", "p.json: is in Parquet format; convert it"),
    ("p.jsonl", '{"prompt": "a"}\n{"prompt": "b"', "p.jsonl:2: is not valid JSON: unexpected end of data at character"),
    ("p.jsonl", b'{"prompt": "a"}\n{"prompt": "\xf6"}', "p.jsonl:2: is not UTF-8 text (byte 0xf6 at byte 13)"),
    ("p.jsonl", '{"prompt": "\\ud800"}', "p.jsonl:1: is not valid JSON: no low surrogate"),
    ("p.jsonl", '{"prompt": NaN}', "p.jsonl:1: is not valid JSON"),
    ("p.jsonl", "17", "p.jsonl:1: must be an object or a text"),
    ("p.jsonl", '{"prompt": 17}', "p.jsonl:1: `prompt` must be a text or a list of messages"),
    ("p.jsonl", '{"prompt": [17]}', "p.jsonl:1: `prompt` must be a text or a list of objects"),
    ("p.jsonl", '{"text": "a", "b\\u001b[2J": 1}', "p.jsonl:1: has neither `prompt` nor `messages` nor"),
    ("p.jsonl", '{"messages": [{"content": "a"}]}', "p.jsonl:1: message 1 has no `role`"),
    ("p.jsonl", '{"messages": [{"role": "user"}]}', "p.jsonl:1: message 1 has no `content`"),
    (
        "p.jsonl",
        '{"messages": [{"role": "user", "content": 3}]}',
        "p.jsonl:1: message 1: `content` must be a text or a",
    ),
    ("p.jsonl", '{"prompt": "a", "tools": {}}', "p.jsonl:1: `tools` must be a list of objects"),
    ("p.jsonl", '{"prompt": "a", "tools": [{"a": ' + DEEP + "}]}", "p.jsonl:1: is nested too deeply"),
    ("p.jsonl", '{"prompt": ' + "[" * 9000, "p.jsonl:1: is not valid JSON: depth limit exceeded"),
    ("p.jsonl", '{"conversations": [{"from": "human"}]}', "p.jsonl:1: turn 1 must have `from` and `value`, both text"),
    ("p.json", '["a", ', "p.json, item 2: the file ends in the middle"),
    ("p.json", '["a", "b', "p.json, item 2: the file ends in the middle"),
    ("p.json", '["a", {"prompt": "b"', "p.json, item 2: the file ends in the middle"),
    ("p.json", '["a"', "p.json, after item 1: the list has no end"),
    ("p.json", '["a" "b"]', "p.json, after item 1: expected a comma or the end of the list"),
    ("p.json", '["a",]', "p.json, item 2: must be an object or a text"),
    ("p.json", '["a", 3]', "p.json, item 2: must be an object or a text"),
    ("p.json", '["a", ["b"]]', "p.json, item 2: must be an object or a text"),
    ("p.json", '["a", {"prompt": "b"]]', "p.json, item 2: is not valid JSON"),
    ("p.json", '["a"] x', "p.json: there is something after the end of the list"),
    ("p.json", "[]", "p.json: contains no prompt"),
    ("p.json", "[", "p.json, item 1: the file ends in the middle"),
    (
        "p.csv",
        "question,answer\na,b\n",
        "p.csv: has no column 'prompt' in its first line; its columns are question, answer",
    ),
    ("p.csv", "prompt,id\na,1\nb\n", "p.csv:3: has 1 columns, the first line has 2"),
    ("p.csv", 'prompt,id\na,1\n"b,2\nc,3\n', "p.csv:3: a quotation mark in this row is never closed"),
    ("p.csv", '"prompt,id\na,1\n', "p.csv: has no column 'prompt' in its first line; its columns are empty"),
    ("p.csv", 'prompt,id\n"a"b,1\n', "p.csv:2: is not valid CSV"),
    ("p.csv", b"prompt,id\na,1\n\xf6,2\n", "p.csv:3: is not UTF-8 text"),
]


@pytest.mark.parametrize(("name", "content", "said"), DAMAGED, ids=range(len(DAMAGED)))
def test_damage_is_named_with_file_and_line(write: Write, name: str, content: str | bytes, said: str) -> None:
    assert refusal(write(name, content)).startswith(said)


def test_a_field_that_does_not_fit_is_named(write: Write) -> None:
    assert "p.jsonl:1: has no 'q'; its keys are prompt" in refusal(write("p.jsonl", '{"prompt": "a"}'), "q")
    assert "p.csv: has no column 'q' in its first line" in refusal(write("p.csv", "prompt\na\n"), "q")
    assert "`field` needs a .jsonl, .json or .csv file" in refusal(write("p.txt", "a"), "q")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.txt"))
        assert refusal(tmp_path / "s.txt") == "s.txt: is not a regular file"
    assert refusal(tmp_path / "pipe.txt") == "pipe.txt: is not a regular file"
    assert refusal(Path("/dev/zero")) == "zero: is not a regular file"
    assert refusal(tmp_path).endswith("is a directory, not a file")
    assert refusal(tmp_path / "none\x1b[2J.txt") == "none [2J.txt: no such file"
    assert "cannot be read" in refusal(tmp_path / ("x" * 300))
    assert "cannot be read" in refusal(tmp_path / "a\0b")


def test_sizes_are_bounded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_FILE_BYTES", 10)
    assert "p.txt: is larger than" in refusal(write("p.txt", "x" * 11))
    monkeypatch.undo()
    monkeypatch.setattr(prompt_file, "MAX_PROMPTS", 3)
    assert refusal(write("p.txt", "x\n" * 4)) == "p.txt: has more than 3 prompts; use a part of it"
    assert len(PromptFile(write("p.txt", "x\n" * 3))) == 3


@pytest.mark.untraced
def test_an_endless_line_item_or_row_takes_bounded_memory(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (source, json_items, csv_rows):
        monkeypatch.setattr(module, "MAX_PROMPT_BYTES", 2**18)
    line, item, row = (
        write("p.txt", b"a\n" + b"x" * (10 * 2**20)),
        write("p.json", b'["' + b"x" * (10 * 2**20)),
        write("p.csv", b'prompt\n"' + b"x\n" * (5 * 2**20)),
    )
    tracemalloc.start()
    try:
        assert refusal(line) == "p.txt:2: the line is longer than 0 MiB"
        assert refusal(item) == "p.json, item 1: is longer than 0 MiB"
        assert refusal(row) == "p.csv:2: the row is longer than 16 MiB; is a quotation mark never closed?"
        assert tracemalloc.get_traced_memory()[1] < 6 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.untraced
def test_many_prompts_take_some_bytes_each(write: Write) -> None:
    lines = 20_000
    path = write("p.jsonl", b'{"prompt": "%s"}\n' % (b"word " * 40) * lines)
    tracemalloc.start()
    try:
        file = PromptFile(path)
        assert tracemalloc.get_traced_memory()[1] < lines * 64 < path.stat().st_size / 3
    finally:
        tracemalloc.stop()
    assert len(file) == lines
    assert file[lines - 1].text == ("word " * 40)


def test_a_file_that_changes_during_the_run_is_noticed(write: Write) -> None:
    path = write("p.txt", "one\ntwo\n")
    file = PromptFile(path)
    path.write_bytes(b"one\nTWO\nthree\n")
    with pytest.raises(PromptFileError, match="has changed since the run was prepared"):
        file[0]


def test_the_digest_is_that_of_the_whole_file(write: Write) -> None:
    for name in ("p.txt", "p.jsonl", "p.json", "p.csv"):
        content = b'\xef\xbb\xbf["prompt"]\n' if name == "p.json" else b'\xef\xbb\xbf"prompt"\n"one"\n'
        assert PromptFile(write(name, content)).digest == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17, 1000])
def test_every_prompt_is_taken_once_before_any_is_taken_again(size: int) -> None:
    order = PromptOrder(7, size)
    passes = [[order.prompt_at(p) for p in range(n * size, (n + 1) * size)] for n in range(3)]
    assert all(sorted(numbers) == list(range(size)) for numbers in passes)
    if size > 16:
        assert passes[0] != passes[1] != passes[2]
        assert passes[0] != sorted(passes[0])


def test_the_order_depends_on_the_seed_only() -> None:
    first = [PromptOrder(7, 1000).prompt_at(p) for p in range(1000)]
    again = PromptOrder(7, 1000)
    assert [again.prompt_at(p) for p in reversed(range(1000))] == first[::-1]
    other = [PromptOrder(8, 1000).prompt_at(p) for p in range(1000)]
    assert sum(a == b for a, b in zip(first, other, strict=True)) < 20
    # a sorted file must not come out sorted: neighbours are far apart, and halves are mixed
    assert 200 < sum(number < 500 for number in first[:500]) < 300
    assert 200 < sum(abs(a - b) for a, b in itertools.pairwise(first)) / 999 < 460


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["prompt", "messages", "conversations", "role", "content", "from", "value", "tools", "text"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@pytest.mark.untraced
@given(content=json_values, name=st.sampled_from(["p.json", "p.jsonl"]))
@example(content=[{"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]}], name="p.json")
def test_any_json_gives_prompts_or_one_line(content: Any, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_text(json.dumps(content))
    never_raises_anything_else(path)


@pytest.mark.untraced
@given(content=st.binary(max_size=60), name=st.sampled_from(["p.txt", "p.csv", "p.json", "p.jsonl"]))
@example(content=b"prompt\r\na\rb\r\n", name="p.csv")
@example(content=b'prompt\n"a\rb"\n', name="p.csv")
def test_any_bytes_give_prompts_or_one_line(
    content: bytes, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    never_raises_anything_else(path)


def never_raises_anything_else(path: Path) -> None:
    try:
        file = PromptFile(path)
    except PromptFileError as error:
        assert str(error).isprintable()  # noqa: PT017 - an error is one of two good endings
        return
    for number in range(len(file)):
        prompt = file[number]
        assert prompt.messages
        assert prompt.text_bytes >= 0
        assert only_text(prompt.messages) in (True, False)
    file.close()
