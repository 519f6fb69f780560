"""Mooncake's form of a trace: one JSON object a line.

`{"timestamp": 3000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, …]}`: milliseconds, tokens, and the
hashes of the prompt's blocks of 512 tokens, each of which includes all blocks before it. `session_id` is optional: the
requests of a session are its turns, in order. Other keys are ignored.

Source: R. Qin et al., "Mooncake: A KVCache-centric Disaggregated Architecture for LLM Serving", FAST 2025.
"""

import math
from collections.abc import Iterator
from typing import Any

import orjson

from probe_ext.workload.traces.raw_request import RawRequest, block_number
from probe_ext.workload.traces.trace_lines import TraceLines, count, moment

BLOCK_TOKENS = 512
_MILLISECOND = 0.001


def requests(lines: TraceLines, block_tokens: int) -> Iterator[RawRequest]:
    """Yield the requests of a file. TraceError names line and key."""
    for line in lines:
        if not line.strip():
            continue
        values = _object(lines, line)
        tokens_in = count(lines, values, "input_length")
        yield RawRequest(
            line=lines.number,
            at=moment(lines, values, "timestamp", _MILLISECOND),
            session=_session(lines, values),
            tokens_in=tokens_in,
            tokens_out=count(lines, values, "output_length"),
            blocks=_blocks(lines, values, tokens_in, block_tokens),
        )


def _object(lines: TraceLines, line: str) -> dict[str, Any]:
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise lines.line_error(f"is not valid JSON: {error.msg}") from error
    if not isinstance(values, dict):
        raise lines.line_error("must be a JSON object with timestamp, input_length and output_length")
    return values


def _session(lines: TraceLines, values: dict[str, Any]) -> str | None:
    session = values.get("session_id")
    if session is None:
        return None
    if isinstance(session, bool) or not isinstance(session, str | int):
        raise lines.line_error("session_id: must be a text or a whole number")
    return str(session)


def _blocks(lines: TraceLines, values: dict[str, Any], tokens_in: int, block_tokens: int) -> tuple[int, ...]:
    hashes = values.get("hash_ids", [])
    if not isinstance(hashes, list) or any(isinstance(one, bool) or not isinstance(one, int | str) for one in hashes):
        raise lines.line_error("hash_ids: must be a list of whole numbers or texts")
    most = math.ceil(tokens_in / block_tokens)
    if len(hashes) > most:
        raise lines.line_error(
            f"hash_ids: {len(hashes):,} blocks of {block_tokens} tokens are more than an input_length of "
            f"{tokens_in:,} has ({most:,}); is block_tokens another one?"
        )
    return tuple(map(block_number, hashes))
