"""Silent pauses, each with its start and end.

A pause is a gap between two token events (from `gaps.csv`) of at least the profile's `silence.served`, or 2 s where the
profile does not judge silence; or a silence of that length in which a reply died or was aborted. A gap in which the
model went on writing, while something held its output back, is none.
"""

from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import FINISHED, Outcome
from probe_ext.measure.table_rows import MIN_RECORDED_GAP_S
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence.columns import Bools, Floats, Ints, ids, is_any, numbers, rows_of, select
from probe_ext.verdict.evidence.evidence import Columns, Evidence
from probe_ext.verdict.grading.held_back import MIN_GAP_SHARE_WRITTEN, bundling, few_large_events, written_meanwhile
from probe_ext.verdict.server.generation import generating_share

DEFAULT_PAUSE_S = 2.0
"""Threshold where the profile does not judge silence."""


@dataclass(frozen=True)
class Spans:
    """All pauses, in order of time."""

    reply: Ints
    """row index of its reply"""
    start: Floats
    end: Floats
    resumed: Bools
    """whether the reply continued afterwards"""

    def __len__(self) -> int:
        return len(self.start)


def threshold(profile: SloProfile) -> float:
    """Return the seconds from which a gap is a silent pause, never below the shortest gap that `gaps.csv` keeps."""
    return max(profile.silence.served if profile.silence else DEFAULT_PAUSE_S, MIN_RECORDED_GAP_S)


def find_pauses(evidence: Evidence, min_seconds: float) -> Spans:
    """Return the pauses of at least `min_seconds`."""
    gaps, replies = evidence.gaps, evidence.replies
    start, end = numbers(gaps, "start"), numbers(gaps, "end")
    long = np.flatnonzero(np.round(end - start, 9) >= min_seconds)
    resumed = rows_of(ids(gaps, "reply_id")[long], ids(replies, "reply_id")) if len(long) else long
    long, resumed = long[resumed >= 0], resumed[resumed >= 0]
    silent = ~_held_back(evidence, long, resumed)
    long, resumed = long[silent], resumed[silent]
    died = _died_silent(replies, min_seconds)
    spans = Spans(
        reply=np.concatenate([resumed, died]),
        start=np.concatenate([start[long], numbers(replies, "last")[died]]),
        end=np.concatenate([end[long], numbers(replies, "end")[died]]),
        resumed=np.concatenate([np.ones(len(resumed), dtype=np.bool_), np.zeros(len(died), dtype=np.bool_)]),
    )
    order = np.lexsort((spans.reply, spans.end, spans.start))
    return Spans(spans.reply[order], spans.start[order], spans.end[order], spans.resumed[order])


def _held_back(evidence: Evidence, gap: Ints, reply: Ints) -> Bools:
    gaps, replies = evidence.gaps, evidence.replies
    start, end = numbers(gaps, "start")[gap], numbers(gaps, "end")[gap]
    own = select(replies, reply)
    together = numbers(gaps, "tokens_together")[gap]
    held = written_meanwhile(end - start, together, numbers(own, "tpot"), bundling(own).bundled)
    held |= few_large_events(own)
    if held.any():
        held &= ~(generating_share(evidence, start, end) < MIN_GAP_SHARE_WRITTEN)
    return held


def _died_silent(replies: Columns, min_seconds: float) -> Ints:
    """Return the rows of replies that had begun and ended in a silence as long as a pause."""
    silent = np.flatnonzero(np.round(numbers(replies, "end") - numbers(replies, "last"), 9) >= min_seconds)
    own = select(replies, silent)
    ours = is_any(own, "outcome", {Outcome.ENDED_BY_US})
    waiting = bundling(own).bundled & ours  # an aborted reply would have gone on with its next burst
    return silent[~is_any(own, "outcome", FINISHED) & ~waiting]


def longest(spans: Spans, count: int) -> Ints:
    """Return the indices of the longest pauses, in order of time."""
    order = np.argsort(spans.start - spans.end, kind="stable")[:count]
    return np.sort(order)
