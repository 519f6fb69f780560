"""Before a run: the prompt files of a workload, read, counted in the server's tokens, and held against the context."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from probe_ext.access.file_prompts.file_remarks import (
    FileUse,
    Remark,
    describe,
    off_mean,
    too_long,
    too_long_for_others,
)
from probe_ext.access.file_prompts.prompt_files import PromptFiles
from probe_ext.measure import clock
from probe_ext.prompts.files.file_chat import FileChat
from probe_ext.prompts.files.length_check import FileLengths, check_lengths
from probe_ext.prompts.files.prompt_file import PromptFile
from probe_ext.prompts.files.prompt_forms import FilePrompt, from_text
from probe_ext.prompts.files.source import PromptFileError
from probe_ext.prompts.prompt import Prompt
from probe_ext.settings.errors import SettingsError

MAX_COUNTING_S = 10.0
"""per file"""
_MAX_REPLY_SHARE = 0.5  # of the context that is kept free for a reply

Count = Callable[[Prompt], int | None]


@dataclass(frozen=True)
class PreparedFile:
    """One file as master, workers and `run.json` have it."""

    kind: str
    path: str
    field: str | None
    sha256: str
    prompts: int
    """that are sent"""
    without_prompt: int
    left_out: tuple[int, ...]
    """numbers of the prompts that are too long for this kind or for another one that uses the same file"""
    counted: int
    mean_tokens: float | None
    """of the first requests, with template, system prompt and shared prefix; None if the server does not count"""
    room: int | None
    """tokens that a reply to any prompt may have; None if it is not known"""
    tokens_per_byte: float | None

    def as_message(self) -> dict[str, Any]:
        """Return plain types for workers."""
        return {**asdict(self), "left_out": list(self.left_out)}

    def as_manifest(self) -> dict[str, Any]:
        """Return plain types for `run.json`."""
        return {**asdict(self), "left_out": len(self.left_out)}


@dataclass(frozen=True)
class PreparedFiles:
    """All files of a workload, and what is to be said of them."""

    files: tuple[PreparedFile, ...] = ()
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class _Checked:
    """One kind's file, counted for this kind alone."""

    use: FileUse
    file: PromptFile
    count: Count
    room: int | None
    lengths: FileLengths | None
    bound: str

    @property
    def key(self) -> tuple[str, str | None]:
        return self.use.path, self.use.field

    @property
    def left_out(self) -> tuple[int, ...]:
        return self.lengths.left_out if self.lengths else ()


def prepare_files(
    uses: list[FileUse],
    files: PromptFiles,
    counter: Callable[[str], tuple[Count, int]],
    context: int | None,
    seed: int | str,
) -> PreparedFiles:
    """Read and check all files. SettingsError, in one line with kind, file and place, if one cannot be used.

    `counter`: for an API, what counts the tokens of a request, and how many prompts of a file may be counted. Kinds
    that use the same file share its prompts, so what is too long for one of them is left out for all.
    """
    checked = [_check(use, files, counter, context, seed) for use in uses]
    prepared, remarks = [], list[Remark]()
    for one in checked:
        left_out = _left_out([other for other in checked if other.key == one.key])
        sent = one.lengths.without(left_out) if one.lengths else None
        prepared.append(_prepared(one, sent, left_out))
        remarks += _remarks(one, sent, left_out)
    return PreparedFiles(tuple(prepared), tuple(remarks))


def _check(
    use: FileUse, files: PromptFiles, counter: Callable[[str], tuple[Count, int]], context: int | None, seed: int | str
) -> _Checked:
    try:
        file = files.open(use.path, use.field)
        _check_api(use, file)
        count, samples = counter(use.api)
        room = None if context is None else min(use.longest_reply, int(context * _MAX_REPLY_SHARE))
        lengths = _lengths(use, file, count, samples, None if context is None else context - (room or 0), seed)
    except PromptFileError as error:
        raise SettingsError(f"{use.kind}: prompts.file: {error}") from error
    bound = _bound(context, room)
    if lengths is not None and lengths.mean_tokens is None:
        raise SettingsError(f"{use.kind}: prompts.file: {file.name}: every prompt is too long {bound}")
    return _Checked(use, file, count, room, lengths, bound)


def _left_out(same: list[_Checked]) -> tuple[int, ...]:
    """Return the prompts that are too long for any of the kinds that share a file. SettingsError if none remains."""
    left_out = {number for one in same for number in one.left_out}
    file = same[0].file
    if len(left_out) == len(file):
        kinds = ", ".join(one.use.kind for one in same)
        raise SettingsError(
            f"{kinds}: prompts.file: {file.name}: every prompt is too long for one of these kinds, which share the "
            "file; give each its own"
        )
    return tuple(sorted(left_out))


def _check_api(use: FileUse, file: PromptFile) -> None:
    if use.api == "completion" and file.first_chat is not None:
        raise SettingsError(
            f"{use.kind}: prompts.file: {file.place(file.first_chat)}: is a chat, which the API `completion` does not "
            "take; use the API `chat`, or prompts that are texts"
        )


def _lengths(
    use: FileUse, file: PromptFile, count: Count, samples: int, limit: int | None, seed: int | str
) -> FileLengths | None:
    began = clock.monotonic()
    return check_lengths(
        file,
        lambda number: count(_request(use, file[number])),
        limit=limit,
        seed=seed,
        samples=samples,
        spent=lambda: (clock.monotonic() - began) / MAX_COUNTING_S,
    )


def _request(use: FileUse, prompt: FilePrompt) -> Prompt:
    return FileChat(lambda: prompt, system=use.system, shared_prefix=use.shared_prefix).ask()


def _bound(context: int | None, room: int | None) -> str:
    if context is None or room is None:
        return ""
    return f"(more than {context - room:,} tokens; a reply of {room:,} must fit into the context of {context:,}, too)"


def _prepared(one: _Checked, sent: FileLengths | None, left_out: tuple[int, ...]) -> PreparedFile:
    use, file = one.use, one.file
    return PreparedFile(
        kind=use.kind,
        path=use.path,
        field=use.field,
        sha256=file.digest,
        prompts=len(file) - len(left_out),
        without_prompt=file.without_prompt,
        left_out=left_out,
        counted=sent.counted if sent else 0,
        mean_tokens=sent.mean_tokens if sent else None,
        room=one.room if sent else None,
        tokens_per_byte=sent.tokens_per_byte if sent else None,
    )


def _remarks(one: _Checked, sent: FileLengths | None, left_out: tuple[int, ...]) -> Iterator[Remark]:
    use, file = one.use, one.file
    yield from describe(use, file, sent, left_out)
    if one.lengths is not None and one.lengths.left_out:
        yield too_long(use, file, one.lengths, one.bound)
    if others := len(left_out) - len(one.left_out):
        yield too_long_for_others(use, file, others)
    if sent is None or sent.mean_tokens is None:
        return
    text = from_text("a")
    if use.stated_tokens is not None and text is not None and (overhead := one.count(_request(use, text))) is not None:
        yield from off_mean(use, file, sent.mean_tokens - (overhead - 1), use.stated_tokens)
