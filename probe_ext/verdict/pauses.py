"""Silent pauses: each with its start and end, and what the server said of itself meanwhile.

A pause is a gap between two token events of at least the profile's `silence.served` (2 s where it does not judge
silence), from `gaps.csv`; or the silence in which a reply died or was ended, as long as that. Three things about each
can be seen in the server's samples, and how often chance would show them: it *meets* a rise of the preemption counter;
it *ends* in one (vLLM counts a preemption when its victim runs again); it *starts* as the queue grew (the victim stands
there at once). That is overlap: counters belong to the server, not to a request, so it is evidence and no proof.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import FINISHED
from probe_ext.measure.rows import GAP_FLOOR
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.amounts import bound, count
from probe_ext.verdict.columns import Bools, Floats, Ints, numbers, texts
from probe_ext.verdict.evidence import Columns, Evidence, quantile
from probe_ext.verdict.judgement import Overlap, Pauses
from probe_ext.verdict.levels import Level
from probe_ext.verdict.overlap import Brackets, overlap, rises, stretches
from probe_ext.verdict.server_figures import STALE, Engine, Metrics, Series, total_rise
from probe_ext.verdict.words import things

PAUSE = 2.0
"""seconds: what counts as a silent pause where the profile does not say"""
CLIENT_GIVES_UP = 30.0
"""seconds without a token: a usual read timeout of ordinary clients"""


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


@dataclass(frozen=True)
class Moments:
    """What the server said of each pause; NaN where it said nothing."""

    watched: Bools
    """whether the preemption counter was read throughout"""
    meets: Bools
    ends: Bools
    starts: Bools
    kv_usage: Floats
    """highest from the sample before the pause to its end, of the fullest engine"""
    waiting: Floats
    """the same, of all engines together"""


def threshold(profile: SloProfile) -> float:
    """Seconds from which a gap is a silent pause; no gap shorter than `gaps.csv` keeps can be one."""
    return max(profile.silence.served if profile.silence else PAUSE, GAP_FLOOR)


def find_pauses(evidence: Evidence, least: float) -> Spans:
    """The pauses of at least so many seconds."""
    gaps, replies = evidence.gaps, evidence.replies
    start, end = numbers(gaps, "start"), numbers(gaps, "end")
    long = np.flatnonzero(np.round(end - start, 9) >= least)
    names = [str(gaps["reply_id"][i]) for i in long]
    wanted = set(names)
    row_of = {name: i for i, name in enumerate(texts(replies, "reply_id")) if name in wanted} if names else {}
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


def _died_silent(replies: Columns, least: float) -> Ints:
    """Replies that had begun and ended in a silence as long as a pause."""
    silent = np.flatnonzero(np.round(numbers(replies, "end") - numbers(replies, "last"), 9) >= least)
    outcomes = texts(replies, "outcome") if len(silent) else []
    return np.array([row for row in silent.tolist() if outcomes[row] not in FINISHED], dtype=np.int64)


def look_at(spans: Spans, metrics: Metrics) -> Moments:
    """What the server's samples show of each pause."""
    counters = list(metrics.get("preemptions", {}).values())
    queues = list(metrics.get("waiting", {}).values())
    counted, grew = rises(counters), rises(queues)
    return Moments(
        watched=_watched(spans, counters),
        meets=counted.met_by(spans.start, spans.end),
        ends=spans.resumed & counted.met_by(spans.end, spans.end),
        starts=grew.met_by(spans.start, spans.start),
        kv_usage=_highest(spans, metrics.get("kv_usage", {}), together=False),
        waiting=_highest(spans, metrics.get("waiting", {}), together=True),
    )


def _watched(spans: Spans, engines: Sequence[Series]) -> Bools:
    """Whether samples follow each other closely from before the pause to after it."""
    t = np.unique(np.concatenate([np.empty(0), *(series.t for series in engines)]))
    if len(t) < 2:
        return np.zeros(len(spans), dtype=np.bool_)
    holes = np.concatenate([[0], np.cumsum(np.diff(t) > STALE)])
    before = np.searchsorted(t, spans.start, side="right") - 1
    after = np.searchsorted(t, spans.end, side="left")
    known = (before >= 0) & (after < len(t))
    through: Bools = known & (holes[np.maximum(before, 0)] == holes[np.minimum(after, len(t) - 1)])
    return through


def _highest(spans: Spans, engines: Mapping[Engine, Series], *, together: bool) -> Floats:
    """The highest value from the sample before each pause to its end; NaN without a sample."""
    t = np.unique(np.concatenate([np.empty(0), *(series.t for series in engines.values())]))
    if not len(t) or not len(spans):
        return np.full(len(spans), np.nan)
    each = np.array([_fresh(series, t) for series in engines.values()])
    value = np.nansum(each, axis=0) if together else np.nanmax(each, axis=0)
    first = np.searchsorted(t, spans.start, side="right") - 1
    behind = np.searchsorted(t, spans.end, side="right")
    stale = (first >= 0) & (spans.start - t[np.maximum(first, 0)] > STALE)
    first = np.where(stale, first + 1, np.maximum(first, 0))
    some = behind > first
    edges = np.column_stack([first, np.maximum(behind, first + 1)])[some].ravel()
    out = np.full(len(spans), np.nan)
    if some.any():
        out[some] = np.maximum.reduceat(np.append(value, -np.inf), edges)[::2]
    return out


def _fresh(series: Series, moments: Floats) -> Floats:
    """The latest sample at each moment; NaN where there is none, or only a stale one."""
    at = np.searchsorted(series.t, moments, side="right") - 1
    fresh = (at >= 0) & (moments - series.t[at] <= STALE)
    return np.where(fresh, series.value[at], np.nan)


def pauses(spans: Spans, seen: Moments, least: float, levels: Sequence[Level], metrics: Metrics) -> Pauses:
    """All pauses of a run, summed up."""
    lasted = spans.end - spans.start
    counted = total_rise(metrics, "preemptions")
    meets, ends, starts = (None, None, None) if counted is None else _against_chance(spans, seen, levels, metrics)
    watched = int(seen.watched.sum())
    return Pauses(
        threshold=least,
        count=len(spans),
        replies=len(np.unique(spans.reply)),
        seconds=float(lasted.sum()),
        longest=float(lasted.max()) if len(lasted) else None,
        clients_cut=int((lasted >= CLIENT_GIVES_UP).sum()),
        watched=watched,
        preemptions=None if counted is None else round(counted),
        meets_preemption=meets,
        ends_with_preemption=ends,
        starts_as_queue_grows=starts,
        kv_usage_p50=quantile(seen.kv_usage, 0.5),
        waiting_p50=quantile(seen.waiting, 0.5),
        says=_says(len(spans), least, counted, watched, (meets, ends)),
    )


def _against_chance(
    spans: Spans, seen: Moments, levels: Sequence[Level], metrics: Metrics
) -> tuple[Overlap | None, Overlap | None, Overlap | None]:
    """The three kinds of overlap of the pauses that were watched; None where there is nothing to compare."""
    watched = np.flatnonzero(seen.watched)
    went_on = watched[spans.resumed[watched]]
    counters, queues = (list(metrics.get(name, {}).values()) for name in ("preemptions", "waiting"))
    last = max(float(series.t[-1]) for series in counters)
    edges = stretches(levels, max(last, float(spans.end.max()) if len(spans) else 0.0))

    def compared(brackets: Brackets, start: Floats, end: Floats) -> Overlap | None:
        return overlap(brackets, start, end, edges) if len(start) else None

    counted = rises(counters)
    return (
        compared(counted, spans.start[watched], spans.end[watched]),
        compared(counted, spans.end[went_on], spans.end[went_on]),
        compared(rises(queues), spans.start[watched], spans.start[watched]) if queues else None,
    )


def _says(
    number: int, least: float, counted: float | None, watched: int, found: tuple[Overlap | None, Overlap | None]
) -> str:
    """What can be said of them in a sentence or two; never that one thing caused the other."""
    if not number:
        return f"No reply fell silent for {bound(least)} or more."
    many = f"{things(number, 'silent pause')} of {bound(least)} or more"
    if counted is None:
        return f"{many}; whether preemptions go with them is not known: the server did not tell of any counter."
    if not counted:
        return f"{many}; the server counted no preemption meanwhile."
    if not watched:
        return f"{many}; whether preemptions go with them is not known: the counter was not read around them."
    shown = max((one for one in found if one is not None), key=lambda one: one.seen - one.chance_high)
    how = "end as the server counts a preemption" if shown is found[1] else "overlap a preemption"
    of = "" if watched == number else f" (of {watched:,} during which the counter was read)"
    more = "more than" if shown.beyond else "no more than"
    return f"{many}: {shown.seen:,}{of} {how}, {more} the {count(shown.chance)} that would by chance."


@dataclass(frozen=True)
class Pause:
    """One pause, as `pauses.csv` has it; what the server did not tell is None."""

    reply_id: str
    user: str
    users: int | None
    """users there were, by the last sample before it"""
    start: float
    end: float
    resumed: bool
    meets_preemption: bool | None
    ends_with_preemption: bool | None
    starts_as_queue_grows: bool | None
    kv_usage: float | None
    waiting: float | None


def listed(evidence: Evidence, metrics: Metrics, spans: Spans, which: Ints | None = None) -> Iterator[Pause]:
    """Every pause in order of time, or those of the given numbers."""
    seen = look_at(spans, metrics)
    names, users = texts(evidence.replies, "reply_id"), texts(evidence.replies, "user")
    t, count = numbers(evidence.users, "t"), numbers(evidence.users, "users")
    at = np.searchsorted(t, spans.start, side="right") - 1
    queued = "waiting" in metrics
    for i in range(len(spans)) if which is None else which.tolist():
        row, known = int(spans.reply[i]), bool(seen.watched[i])
        yield Pause(
            reply_id=names[row],
            user=users[row],
            users=int(count[at[i]]) if at[i] >= 0 else None,
            start=float(spans.start[i]),
            end=float(spans.end[i]),
            resumed=bool(spans.resumed[i]),
            meets_preemption=bool(seen.meets[i]) if known else None,
            ends_with_preemption=bool(seen.ends[i]) if known else None,
            starts_as_queue_grows=bool(seen.starts[i]) if known and queued else None,
            kv_usage=_known(seen.kv_usage[i]),
            waiting=_known(seen.waiting[i]),
        )


def longest(spans: Spans, most: int) -> Ints:
    """Numbers of the longest pauses, in order of time."""
    order = np.argsort(spans.start - spans.end, kind="stable")[:most]
    return np.sort(order)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
