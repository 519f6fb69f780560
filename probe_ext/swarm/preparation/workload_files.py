"""Before a run of a workload: read its prompt files, and hold its lengths against what the server counts."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gevent

from probe_ext.access.file_prompts.file_lengths import PreparedFiles, prepare_files
from probe_ext.access.file_prompts.file_remarks import MAX_MEAN_DIFFERENCE, FileUse, Remark
from probe_ext.access.file_prompts.prompt_files import PromptFiles
from probe_ext.access.file_prompts.request_counts import RequestCounter
from probe_ext.access.kind_prompts import KindPrompts
from probe_ext.access.workload_lengths import ALMOST_ALL, lengths_of
from probe_ext.prompts.files.source import PromptFileError
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.swarm.preparation.stream_plan import open_trace
from probe_ext.workload.user_kind import UserKind
from probe_ext.workload.workload_file import Workload

_SYNTHETIC_SAMPLES = 8

Counters = Callable[[Options], RequestCounter]


def read_files(workload: Workload, files: PromptFiles) -> None:
    """Read the workload's prompt files in a thread, as large ones take seconds. SettingsError names one that is bad."""
    for kind in workload.kinds:
        if kind.prompts is not None and kind.prompts.file is not None:
            name = kind.prompts.file, kind.prompts.field
            error = gevent.get_hub().threadpool.apply(_open, (files, *name))
            if error is not None:
                raise SettingsError(f"workload {workload.name}: {kind.name}: prompts.file: {error}")


def read_trace(workload: Workload) -> None:
    """Read the workload's trace in a thread. SettingsError says what is wrong with it."""
    error = gevent.get_hub().threadpool.apply(_open_trace, (workload,))
    if error is not None:
        raise error


def _open_trace(workload: Workload) -> SettingsError | None:
    try:
        open_trace(workload)
    except SettingsError as error:
        return error
    return None


def _open(files: PromptFiles, path: str, field: str | None) -> PromptFileError | None:
    """Return what is wrong with a file: gevent prints what is raised in its threads."""
    try:
        files.open(path, field)
    except PromptFileError as error:
        return error
    return None


def check_lengths_of(
    workload: Workload,
    options: Options,
    prompts: dict[str, Any],
    context: int | None,
    files: PromptFiles,
    counters: Counters,
) -> PreparedFiles:
    """Count the prompts of files, and a few synthetic ones. SettingsError if a file has no prompt that can be sent."""
    makers = {
        kind.name: KindPrompts(kind, place, prompts, options, context) for place, kind in enumerate(workload.kinds)
    }
    counted: dict[str, RequestCounter] = {}

    def counter(api: str) -> RequestCounter:
        if api not in counted:
            counted[api] = counters(replace(options, api=api))
        return counted[api]

    uses = [_use(kind, options, makers[kind.name]) for kind in workload.kinds if kind.prompts and kind.prompts.file]
    try:
        prepared = prepare_files(
            uses, files, lambda api: (counter(api).count, counter(api).samples), context, prompts.get("seed", 0)
        )
    except SettingsError as error:
        raise SettingsError(f"workload {workload.name}: {error}") from error
    synthetic = [kind for kind in workload.kinds if kind.prompts and not kind.prompts.file]
    remarks = [
        remark
        for kind in synthetic
        for remark in _synthetic_remarks(kind, makers[kind.name], counter(kind.api or options.api))
    ]
    return replace(prepared, remarks=(*prepared.remarks, *remarks))


def _use(kind: UserKind, options: Options, maker: KindPrompts) -> FileUse:
    source = kind.prompts
    assert source is not None  # noqa: S101 -- by the caller
    assert source.file is not None  # noqa: S101 -- likewise
    return FileUse(
        kind=kind.name,
        path=source.file,
        field=source.field,
        api=kind.api or options.api,
        stated_tokens=source.tokens.average_count if source.tokens else None,
        longest_reply=lengths_of(kind, options).output.count(ALMOST_ALL),
        system=maker.chats.system,
        shared_prefix=maker.chats.prefix,
    )


def _synthetic_remarks(kind: UserKind, maker: KindPrompts, counter: RequestCounter) -> Iterator[Remark]:
    """Say if synthetic prompts have another length than was meant, where counting costs no generation."""
    if not counter.by_tokenizer:
        return
    meant = counted = 0
    for number in range(_SYNTHETIC_SAMPLES):
        ask = maker.user(number).begin().ask()
        tokens = None if ask is None else counter.count(ask.prompt)
        if ask is not None and tokens is not None and ask.prompt.asked_tokens is not None:
            meant, counted = meant + ask.prompt.asked_tokens, counted + tokens
    if meant and abs(counted / meant - 1) > MAX_MEAN_DIFFERENCE:
        difference = f"{100 * abs(counted / meant - 1):,.0f} % {'more' if counted > meant else 'fewer'}"
        yield Remark(
            f"{kind.name}: the server counts {difference} tokens in synthetic prompts than the workload states"
        )
