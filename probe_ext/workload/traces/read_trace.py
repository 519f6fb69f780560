"""Read a trace from a file of any known form, number its sessions, and check the order of its times."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from probe_ext.workload.traces import burstgpt, mooncake, tap_recording
from probe_ext.workload.traces.raw_request import RawRequest
from probe_ext.workload.traces.tap_recording import WITHOUT_REPLY, is_recording
from probe_ext.workload.traces.trace import Form, Trace, TraceRequest
from probe_ext.workload.traces.trace_lines import MAX_SECONDS, TraceError, TraceLines, digest_of

MAX_REQUESTS = 1_000_000
MAX_BLOCKS = 20_000_000
"""of all requests: each takes memory in every process of the run"""
WITHOUT_PROMPT = "without a prompt"


def read_trace(path: Path, block_tokens: int | None = None) -> Trace:
    """Return the whole trace of a file. TraceError, one line with file, line and key, if it cannot be replayed.

    `block_tokens`: length of the blocks that hashes stand for; None: as usual in the file's form.
    """
    if is_recording(path):
        return _read_recording(path, block_tokens)
    lines = TraceLines(path)
    form: Form = "mooncake" if lines.starts_with_brace() else "burstgpt"
    if form == "burstgpt" and block_tokens is not None:
        raise lines.error(f"block_tokens: {block_tokens}: has no effect, as BurstGPT's form has no blocks")
    tokens = block_tokens or mooncake.BLOCK_TOKENS
    raw = mooncake.requests(lines, tokens) if form == "mooncake" else burstgpt.requests(lines)
    left_out: Counter[str] = Counter()
    requests = tuple(_numbered(_in_order(raw, lines), left_out))
    if not requests:
        raise lines.error(f"holds no request{' that can be replayed' if left_out else ''}{_reasons(left_out)}")
    return Trace(form, lines.digest, tokens, requests, dict(left_out))


def _read_recording(path: Path, block_tokens: int | None) -> Trace:
    if block_tokens is not None:
        raise TraceError(f"{path}: block_tokens: {block_tokens}: has no effect, as a recording of the tap has its own")
    raw, tokens, left_out = tap_recording.requests(path)
    requests = tuple(_numbered(raw, left_out))
    if not requests:
        raise TraceError(f"{path}: holds no request that can be replayed{_reasons(left_out)}")
    return Trace("tap", digest_of(tap_recording.requests_file(path)), tokens, requests, dict(left_out))


def _reasons(left_out: Counter[str]) -> str:
    return f": {', '.join(f'{number:,} {reason}' for reason, number in left_out.items())}" if left_out else ""


def _in_order(raw: Iterable[RawRequest], lines: TraceLines) -> Iterator[RawRequest]:
    """Pass requests on whose times never fall, and refuse more than a generator can hold."""
    before: RawRequest | None = None
    first = blocks = 0.0
    for number, request in enumerate(raw):
        if before is None:
            first = request.at
        elif request.at < before.at:
            raise lines.line_error(
                f"its time, {request.at:g} s, is earlier than that of line {before.line} ({before.at:g} s); "
                "sort the file by time"
            )
        blocks += len(request.blocks)
        if number >= MAX_REQUESTS or blocks > MAX_BLOCKS:
            most = f"{MAX_REQUESTS:,} requests" if number >= MAX_REQUESTS else f"{MAX_BLOCKS:,} blocks"
            raise lines.error(f"holds more than {most}; use a part of it")
        if request.at - first > MAX_SECONDS:
            raise lines.line_error(
                f"its time is {request.at - first:,.0f} s after the first; at most a year can be replayed"
            )
        before = request
        yield request


def _numbered(raw: Iterable[RawRequest], left_out: Counter[str]) -> Iterator[TraceRequest]:
    """Number sessions, count times from the first request, and leave out what no request can be made of."""
    sessions: dict[str, int] = {}
    first: float | None = None
    number = 0
    for one in raw:
        if not one.tokens_in or not one.tokens_out:
            left_out[WITHOUT_PROMPT if not one.tokens_in else WITHOUT_REPLY] += 1
            continue
        if one.session is None or one.session not in sessions:
            session, number = number, number + 1
            if one.session is not None:
                sessions[one.session] = session
        else:
            session = sessions[one.session]
        first = one.at if first is None else first
        yield TraceRequest(one.at - first, session, one.tokens_in, one.tokens_out, one.blocks)
