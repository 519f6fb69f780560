"""Batches of reads that each hold one event of a known pattern in one HTTP chunk.

A stream usually repeats the same thing: each read is one whole chunk, which is one whole event. One regular expression
searches all waiting reads at once, chunk sizes included, instead of passing each through the layers for HTTP, SSE and
JSON. A read is accepted only if the expression explains every byte of it; all others go through the layers.
`tests/client/test_matched_runs.py` checks that both ways give the same result.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from probe_ext.client.event_pattern import SEPARATOR, EventPattern, decode_strings

_CHUNK_LINE_END_BYTES = 4
"""two CRLFs per chunk: after its size and after its content"""

_Groups = tuple[bytes, ...]


class MatchedRun(NamedTuple):
    """The events of successive reads, one per read."""

    pattern: EventPattern
    texts: list[str]
    counts: list[int] | None
    """the server's running count of completion tokens at each event, None if the events have none"""
    prompt_tokens: int | None
    """of the last event"""
    event_bytes: int
    wire_bytes: int


ReadSpan = tuple[int, int, MatchedRun | None]
"""indexes of the first read and of the one after the last; None if they must go through the layers"""


def find_runs(pattern: EventPattern, reads: Sequence[bytes]) -> Iterator[ReadSpan]:
    """Split reads (none empty) into runs that match the pattern and others."""
    if SEPARATOR in b"".join(reads):
        yield 0, len(reads), None
        return
    matches: list[_Groups] = pattern.chunk.findall(SEPARATOR.join((b"", *reads, b"")))
    others = [index for index, groups in enumerate(matches) if groups[-1]]
    for before, other in pairwise([-1, *others, len(matches)]):
        if other > before + 1:
            yield before + 1, other, _run(pattern, matches[before + 1 : other], reads[before + 1 : other])
        if other < len(matches):
            yield other, other + 1, None


def _run(pattern: EventPattern, matches: Sequence[_Groups], reads: Sequence[bytes]) -> MatchedRun | None:
    sizes, *captured, _ = zip(*matches, strict=True)
    lengths = list(map(len, reads))
    sizes_and_lengths = set(zip(sizes, lengths, strict=True))
    if any(int(size, 16) != length - len(size) - _CHUNK_LINE_END_BYTES for size, length in sizes_and_lengths):
        return None
    columns = dict(zip(pattern.captured, captured, strict=True))
    texts = decode_strings(columns[b"text"])
    if texts is None:
        return None
    counts, prompts = columns.get(b"completion_tokens"), columns.get(b"prompt_tokens")
    wire_bytes = sum(lengths)
    return MatchedRun(
        pattern,
        texts,
        list(map(int, counts)) if counts else None,
        int(prompts[-1]) if prompts else None,
        wire_bytes - sum(map(len, sizes)) - _CHUNK_LINE_END_BYTES * len(sizes),
        wire_bytes,
    )
