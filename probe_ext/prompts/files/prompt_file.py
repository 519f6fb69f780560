"""A file of prompts: checked once as a whole, then read prompt by prompt, so that large files take little memory.

| name | form |
|---|---|
| `*.jsonl`, `*.ndjson` | one JSON object a line |
| `*.json` | a list of objects or texts, or one object a line |
| `*.csv`, `*.tsv` | a header line, and a column of prompts |
| any other | one prompt a line |
"""

import os
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from probe_ext.measure.safe_text import safe_text
from probe_ext.prompts.files.csv_rows import CsvRows
from probe_ext.prompts.files.json_items import items
from probe_ext.prompts.files.prompt_forms import FilePrompt, from_json, from_text
from probe_ext.prompts.files.source import (
    MAX_PROMPTS,
    PromptFileError,
    Record,
    RecordError,
    Source,
    decode,
    lines,
    state_of,
)

Form = Literal["text", "jsonl", "json", "csv"]
_FORMS: dict[str, Form] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
}


@dataclass(frozen=True)
class _Format:
    form: Form
    records: Callable[[], Iterator[Record]]
    prompt: Callable[[bytes], FilePrompt | None]

    def place(self, number: int) -> str:
        return f", item {number}" if self.form == "json" else f":{number}"


class PromptFile:
    """The prompts of a file, numbered from 0. Each is read from the file when it is asked for."""

    def __init__(self, path: Path, field: str | None = None) -> None:
        """Read and check the whole file. PromptFileError, one line with file and place, if anything in it is damaged.

        `field`: the column or JSON key of the prompts; None: the usual ones.
        """
        self.path, self.name = path, safe_text(str(path))
        self.without_prompt = 0
        """records that have none, and were left out: empty cells, conversations in which no user speaks"""
        self.first_chat: int | None = None
        """number of the first prompt that is more than one plain text"""
        self._starts, self._lengths = array("Q"), array("I")
        self._numbers, self._text_bytes = array("I"), array("I")
        source = Source(path)
        try:
            self._format = _format_of(path, source, field)
            self.form: Form = self._format.form
            self._index(source)
            self.digest = source.digest
            self._descriptor = source.detach()
        finally:
            source.close()
        self._state = source.state

    def _index(self, source: Source) -> None:
        for record in self._format.records():
            try:
                prompt = self._format.prompt(record.data)
            except RecordError as error:
                raise source.error(str(error), self._format.place(record.number)) from error
            if prompt is None:
                self.without_prompt += self._format.form != "text" and bool(record.data.strip())
                continue
            if len(self._starts) >= MAX_PROMPTS:
                raise source.error(f"has more than {MAX_PROMPTS:,} prompts; use a part of it")
            if self.first_chat is None and (prompt.text is None or prompt.later):
                self.first_chat = len(self)
            self._starts.append(record.start)
            self._lengths.append(len(record.data))
            self._numbers.append(record.number)
            self._text_bytes.append(prompt.text_bytes)
        if not self._starts:
            rest = f": none of its {self.without_prompt:,} entries has one" if self.without_prompt else ""
            raise source.error(f"contains no prompt{rest}")

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> FilePrompt:
        """Read one prompt. PromptFileError if the file has changed since it was checked."""
        try:
            data = os.pread(self._descriptor, self._lengths[number], self._starts[number])
            unchanged = state_of(os.fstat(self._descriptor)) == self._state
        except OSError as error:
            raise PromptFileError(f"{self.name}: cannot be read: {error.strerror or error}") from error
        prompt = self._format.prompt(data) if unchanged else None
        if prompt is None:
            raise PromptFileError(f"{self.name}: has changed since the run was prepared")
        return prompt

    def is_current(self) -> bool:
        """Whether the file with this name is still the one that was read."""
        try:
            return state_of(self.path.stat()) == self._state
        except OSError:
            return False

    def text_bytes(self, number: int) -> int:
        """Return the UTF-8 bytes of a prompt's text, tools included."""
        return self._text_bytes[number]

    def place(self, number: int) -> str:
        """Return where a prompt is, as `prompts.jsonl:17`."""
        return f"{self.name}{self._format.place(self._numbers[number])}"

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _format_of(path: Path, source: Source, field: str | None) -> _Format:
    first, form = source.first_character(), _FORMS.get(path.suffix.lower(), "text")
    if not first:
        raise source.error("is empty")
    if form in ("json", "jsonl"):
        form = "json" if first == b"[" else "jsonl"
    if form == "csv":
        rows = CsvRows(source, field)
        return _Format("csv", rows.records, lambda data: from_text(rows.cell(data) or ""))
    if form == "text":
        if field is not None:
            raise source.error("is read as text, one prompt a line: `field` needs a .jsonl, .json or .csv file")
        return _Format("text", lambda: lines(source), lambda data: from_text(decode(data).rstrip("\r\n")))
    records = (lambda: items(source)) if form == "json" else (lambda: lines(source))
    return _Format(form, records, lambda data: from_json(data, field) if data.strip() else None)
