"""What lies between the last level that held and the first that failed, in words: not measured, or not decided.

The sentence, the picture of the levels and the next command take it from here, so they cannot differ.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from probe_ext.verdict.values.plurals import listed

MOST = 3
"""so many stretches are named; of more, that they are the rest"""
ROOM = 14
"""letters for the numbers in a line of the picture, which is as narrow as a phone"""
_REST = "the rest"


@dataclass(frozen=True)
class Gap:
    """Numbers of users strictly between the two."""

    undecided: Sequence[int]
    """measured, and neither held nor failed"""
    unmeasured: Sequence[tuple[int, int]]
    """stretches, the first and the last of each"""


def gap(held: int, failed: int, measured: Collection[int]) -> Gap:
    """`measured`: every number of users of which there is a level; a band of a climb is none."""
    undecided = sorted({users for users in measured if held < users < failed})
    return Gap(undecided, list(_stretches(held, failed, undecided)))


def _stretches(held: int, failed: int, undecided: Sequence[int]) -> Iterator[tuple[int, int]]:
    for low, high in zip([held, *undecided], [*undecided, failed], strict=True):
        if high - low > 1:
            yield low + 1, high - 1


def told(between: Gap) -> str:
    """As a part of the answer; empty between neighbours."""
    if not between.undecided:
        return "between them was not measured" if between.unmeasured else ""
    were = "was" if len(between.undecided) == 1 else "were"
    said = f"{listed([f'{users:,}' for users in between.undecided])}, between them, {were} not decided"
    return f"{said}; {_unmeasured(between.unmeasured)}" if between.unmeasured else said


def labels(between: Gap) -> tuple[str, ...]:
    """The same in the picture, a short line each."""
    undecided = listed([f"{users:,}" for users in between.undecided])
    if len(undecided) > ROOM:
        undecided = f"{len(between.undecided):,} between"
    unmeasured = _named(between.unmeasured)
    if len(between.unmeasured) > 1 and len(unmeasured) > ROOM:
        unmeasured = _REST
    lines = ((undecided, "not decided"), (unmeasured, "not measured"))
    return tuple(f"{which}: {what}" for which, what in lines if which)


def _unmeasured(stretches: Sequence[tuple[int, int]]) -> str:
    one = len(stretches) > MOST or (len(stretches) == 1 and stretches[0][0] == stretches[0][1])
    return f"{_named(stretches)} {'was' if one else 'were'} not measured"


def _named(stretches: Sequence[tuple[int, int]]) -> str:
    if len(stretches) > MOST:
        return _REST
    return listed([f"{low:,}" if low == high else f"{low:,} to {high:,}" for low, high in stretches])
