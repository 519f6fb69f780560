"""Which silences are pauses: each with its start and end.

A pause is a gap between two token events of at least the profile's `silence.served` (2 s where it does not judge
silence), from `gaps.csv`; or the silence in which a reply died or was ended, as long as that.
"""

from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import FINISHED
from probe_ext.measure.table_rows import MIN_RECORDED_GAP_S
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.values.columns import Bools, Floats, Ints, numbers, texts
from probe_ext.verdict.values.evidence import Columns, Evidence

PAUSE = 2.0
"""seconds: what counts as a silent pause where the profile does not say"""


@dataclass(frozen=True)
class Spans:
    """Every pause, in order of time."""

    reply: Ints
    """its row among the replies"""
    start: Floats
    end: Floats
    resumed: Bools
    """whether the reply went on after it"""

    def __len__(self) -> int:
        return len(self.start)


def threshold(profile: SloProfile) -> float:
    """Seconds from which a gap is a silent pause; no gap shorter than `gaps.csv` keeps can be one."""
    return max(profile.silence.served if profile.silence else PAUSE, MIN_RECORDED_GAP_S)


def find_pauses(evidence: Evidence, least: float) -> Spans:
    """The pauses of at least so many seconds."""
    gaps, replies = evidence.gaps, evidence.replies
    start, end = numbers(gaps, "start"), numbers(gaps, "end")
    long = np.flatnonzero(np.round(end - start, 9) >= least)
    names = [str(gaps["reply_id"][i]) for i in long]
    row_of = _rows_of(set(names), texts(replies, "reply_id")) if names else {}
    of = np.array([row_of.get(name, -1) for name in names], dtype=np.int64)
    long, of = long[of >= 0], of[of >= 0]
    died = _died_silent(replies, least)
    last, over = numbers(replies, "last")[died], numbers(replies, "end")[died]
    found = Spans(
        reply=np.concatenate([of, died]),
        start=np.concatenate([start[long], last]),
        end=np.concatenate([end[long], over]),
        resumed=np.concatenate([np.ones(len(of), dtype=np.bool_), np.zeros(len(died), dtype=np.bool_)]),
    )
    order = np.lexsort((found.reply, found.end, found.start))
    return Spans(found.reply[order], found.start[order], found.end[order], found.resumed[order])


def _rows_of(wanted: set[str], names: list[str]) -> dict[str, int]:
    """Of a million names, where the wanted ones stand."""
    rows = np.flatnonzero(np.fromiter(map(wanted.__contains__, names), dtype=np.bool_, count=len(names)))
    return {names[row]: row for row in rows.tolist()}


def _died_silent(replies: Columns, least: float) -> Ints:
    """Replies that had begun and ended in a silence as long as a pause."""
    silent = np.flatnonzero(np.round(numbers(replies, "end") - numbers(replies, "last"), 9) >= least)
    outcomes = texts(replies, "outcome") if len(silent) else []
    return np.array([row for row in silent.tolist() if outcomes[row] not in FINISHED], dtype=np.int64)


def longest(spans: Spans, most: int) -> Ints:
    """Numbers of the longest pauses, in order of time."""
    order = np.argsort(spans.start - spans.end, kind="stable")[:most]
    return np.sort(order)
