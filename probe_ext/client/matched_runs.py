"""Reads that are each one event of a known pattern in one chunk of HTTP: taken many at a time.

A stream that flows brings the same again and again: a read that is one whole chunk, which is one whole event. All reads
that wait are searched at once by one expression, chunk sizes and all, instead of passing each through the layers for
HTTP, events and JSON. A read is believed only where the expression explains every byte of it; any other goes through
the layers. `tests/client/test_runs.py` holds the two ways against one another.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from probe_ext.client.event_pattern import BETWEEN, Pattern, read_texts

_AROUND = 4
"""bytes of a chunk around its size and its content: two line ends"""

Groups = tuple[bytes, ...]


class Run(NamedTuple):
    """What successive reads said, one event each."""

    pattern: Pattern
    texts: list[str]
    counts: list[int] | None
    """the server's running count of completion tokens with each; None where its events have none"""
    prompt: int | None
    """prompt tokens, as the last says"""
    size: int
    """bytes of the events"""
    wire_size: int
    """bytes of the reads"""


Stretch = tuple[int, int, Run | None]
"""from which read up to which, and what they said; None where they must go through the layers"""


def stretches(pattern: Pattern, reads: Sequence[bytes]) -> Iterator[Stretch]:
    """Sort these reads, none of them empty, into stretches of events of this pattern and of others."""
    if BETWEEN in b"".join(reads):
        yield 0, len(reads), None
        return
    found: list[Groups] = pattern.chunk.findall(BETWEEN.join((b"", *reads, b"")))
    others = [place for place, groups in enumerate(found) if groups[-1]]
    for before, other in pairwise([-1, *others, len(found)]):
        if other > before + 1:
            yield before + 1, other, _run(pattern, found[before + 1 : other], reads[before + 1 : other])
        if other < len(found):
            yield other, other + 1, None


def _run(pattern: Pattern, found: Sequence[Groups], reads: Sequence[bytes]) -> Run | None:
    sizes, *columns, _ = zip(*found, strict=True)
    lengths = list(map(len, reads))
    if any(int(size, 16) != length - len(size) - _AROUND for size, length in set(zip(sizes, lengths, strict=True))):
        return None
    column = dict(zip(pattern.kept, columns, strict=True))
    texts = read_texts(column[b"text"])
    if texts is None:
        return None
    counts, prompts = column.get(b"completion_tokens"), column.get(b"prompt_tokens")
    wire_size = sum(lengths)
    return Run(
        pattern,
        texts,
        list(map(int, counts)) if counts else None,
        int(prompts[-1]) if prompts else None,
        wire_size - sum(map(len, sizes)) - _AROUND * len(sizes),
        wire_size,
    )
