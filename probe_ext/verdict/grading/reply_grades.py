"""How one reply felt: served, strained or broken, in each dimension and in all.

- `first_word`: the wait from when the user wanted to send, less what we were late (or from `sent`, if the profile
  says so).
- `typing`: the decode rate 1/TPOT; left out for short replies and for those of a single event.
- `silence`: the longest gap in mid-reply, the one that a reply died in included.
- `answer`: whether a whole answer came; and in time, where no stream shows when (a reply that is not streamed is
  served up to first_word + n/typing seconds: with the chat profile 1 s + n/10, strained up to 10 s + n/5).

A reply that *we* ended is judged on what had happened by then: a bound already passed counts, else it is open. Our own
faults (`client_error`) are never the server's and stay open.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probe_ext.measure.outcome import CLIENT_SIDE, FINISHED, Outcome
from probe_ext.settings.slo import Reasoning, SloProfile, Typing
from probe_ext.verdict.values.columns import Bools, Floats, coded, flags, numbers, texts
from probe_ext.verdict.values.evidence import Columns

Grades = NDArray[np.int8]
"""one of the grades below for each reply"""

UNJUDGED, SERVED, STRAINED, BROKEN = np.int8(-1), np.int8(0), np.int8(1), np.int8(2)

DIMENSIONS = ("first_word", "typing", "silence", "answer")


@dataclass(frozen=True)
class Judged:
    """The grades of all replies; UNJUDGED where there is nothing to judge."""

    by: Mapping[str, Grades]
    """by each dimension alone"""
    overall: Grades
    """the worst of them; UNJUDGED is *open*"""
    felt: "Felt"


@dataclass(frozen=True)
class Felt:
    """What a user saw of each reply; seconds and tokens, NaN where it did not come to that."""

    waited: Floats
    """until the first word"""
    elapsed: Floats
    """until the end, however it came"""
    rate: Floats
    """tokens a second; NaN where the profile leaves it out"""
    gap: Floats
    """the longest silence in mid-reply"""
    tokens: Floats


@dataclass(frozen=True)
class Slower:
    """Factors by which all that is felt of each reply could have been worse."""

    waited: Floats
    elapsed: Floats
    rate: Floats
    """of the time a token takes: the typing speed is divided by it"""
    gap: Floats


def judge_replies(columns: Columns, profile: SloProfile, reasoning: Reasoning, slower: Slower | None = None) -> Judged:
    """Grade every reply by every dimension of the profile; with `slower`, as it would have been."""
    ended = _endings(columns)
    saw = _felt(columns, profile, reasoning, unfinished=~ended["finished"])
    if slower is not None:
        saw = _moved(saw, slower)
    streamed = flags(columns, "streamed", default=True)
    by = {
        "first_word": np.where(streamed, _first_word(saw, profile), UNJUDGED),
        "typing": np.where(streamed, _typing(saw, profile), UNJUDGED),
        "silence": np.where(streamed, _silence(saw, profile), UNJUDGED),
        "answer": _answer(saw, ended, streamed, profile),
    }
    ours = ended["ended_by_us"]
    for dimension in ("typing", "silence"):
        # What has not gone wrong yet still may.
        by[dimension] = np.where(ours & (by[dimension] == SERVED), UNJUDGED, by[dimension])
    by = {dimension: np.where(ended["client_error"], UNJUDGED, grades) for dimension, grades in by.items()}
    return Judged(by, _overall(by, ours, streamed & (profile.first_word is not None)), saw)


def _moved(saw: Felt, slower: Slower) -> Felt:
    return Felt(
        waited=saw.waited * slower.waited,
        elapsed=saw.elapsed * slower.elapsed,
        rate=saw.rate / slower.rate,
        gap=saw.gap * slower.gap,
        tokens=saw.tokens,
    )


def _felt(columns: Columns, profile: SloProfile, reasoning: Reasoning, *, unfinished: Bools) -> Felt:
    """What the user saw: of all text, or with `hidden` of the text outside reasoning."""
    suffix = "_visible" if reasoning == "hidden" else ""
    base = asked_at(columns, profile)
    first, end, last = (numbers(columns, name) for name in ("first" + suffix, "end", "last"))
    events = numbers(columns, "events" + suffix)
    tokens = numbers(columns, "tokens_visible" if suffix else "tokens_out")
    tokens = np.where(np.isnan(tokens), events, tokens)
    died_silent = np.where(unfinished & ~np.isnan(first), end - last, np.nan)
    gap: Floats = np.fmax(numbers(columns, "longest_gap" + suffix), died_silent)
    # To the nanosecond, as files hold it: a wait of just 1 s must not become longer by subtracting.
    return Felt(
        waited=np.round(first - base, 9),
        elapsed=np.round(end - base, 9),
        rate=np.round(_rate(numbers(columns, "tpot" + suffix), tokens, events, profile.typing), 9),
        gap=np.round(gap, 9),
        tokens=numbers(columns, "tokens_out"),
    )


def asked_at(columns: Columns, profile: SloProfile) -> Floats:
    """From when a user's wait counts, seconds of the run."""
    sent, due = numbers(columns, "sent"), numbers(columns, "due")
    if profile.first_word_from == "sent":
        return np.where(np.isnan(sent), due, sent)
    late = numbers(columns, "late")
    due = due + np.where(np.isnan(late), 0.0, late)
    return np.where(np.isnan(due), sent, due)


def _rate(tpot: Floats, tokens: Floats, events: Floats, typing: Typing | None) -> Floats:
    if typing is None:
        return np.full(len(tpot), np.nan)
    counts = (tokens >= typing.min_tokens) & (events >= 2) & (tpot > 0)
    rate: Floats = np.divide(1.0, tpot, out=np.full(len(tpot), np.nan), where=counts)
    return rate


def _endings(columns: Columns) -> dict[str, Bools]:
    """Replies by what their ending means here."""
    codes, names = coded(texts(columns, "outcome"))

    def among(outcomes: frozenset[Outcome]) -> Bools:
        return np.asarray(np.array([name in outcomes for name in names] or [False])[codes], dtype=np.bool_)

    return {
        "complete": among(frozenset({Outcome.COMPLETE})),
        "ended_by_us": among(frozenset({Outcome.ENDED_BY_US})),
        "client_error": among(frozenset({Outcome.CLIENT_ERROR})),
        "finished": among(FINISHED),
        "broken": ~among(CLIENT_SIDE | {Outcome.COMPLETE}),
    }


def _at_most(values: Floats, served: Floats | float, strained: Floats | float) -> Grades:
    """Both bounds belong to the better side; NaN is UNJUDGED."""
    grades = (values > served).astype(np.int8) + (values > strained).astype(np.int8)
    return np.where(np.isnan(values), UNJUDGED, grades).astype(np.int8)


def _first_word(saw: Felt, profile: SloProfile) -> Grades:
    if profile.first_word is None:
        return np.full(len(saw.waited), UNJUDGED)
    bounds = profile.first_word.served, profile.first_word.strained
    # Without a first word, the wait so far tells only what it has already passed.
    so_far = _at_most(saw.elapsed, *bounds)
    so_far = np.where(so_far == SERVED, UNJUDGED, so_far)
    return np.where(np.isnan(saw.waited), so_far, _at_most(saw.waited, *bounds)).astype(np.int8)


def _typing(saw: Felt, profile: SloProfile) -> Grades:
    if profile.typing is None:
        return np.full(len(saw.rate), UNJUDGED)
    return _at_most(-saw.rate, -profile.typing.served, -profile.typing.strained)


def _silence(saw: Felt, profile: SloProfile) -> Grades:
    if profile.silence is None:
        return np.full(len(saw.gap), UNJUDGED)
    # Here the bounds belong to the worse side: "less than 2 s".
    below = np.nextafter(profile.silence.served, 0.0), np.nextafter(profile.silence.strained, 0.0)
    return _at_most(saw.gap, *below)


def _answer(saw: Felt, ended: Mapping[str, Bools], streamed: Bools, profile: SloProfile) -> Grades:
    """Served with a whole answer in time; broken with every ending that the server caused."""
    served, strained, timed = _whole_answer_bounds(saw, streamed, profile)
    in_time = _at_most(np.where(timed & ~np.isnan(served), saw.elapsed, np.nan), served, strained)
    complete = np.where(timed, in_time, SERVED)
    so_far = np.where(in_time == SERVED, UNJUDGED, in_time)
    grades = np.where(ended["complete"], complete, np.where(ended["ended_by_us"], so_far, UNJUDGED))
    return np.where(ended["broken"], BROKEN, grades).astype(np.int8)


def _whole_answer_bounds(saw: Felt, streamed: Bools, profile: SloProfile) -> tuple[Floats, Floats, Bools]:
    """Seconds served and strained for each reply, and whether it is judged by its whole time at all.

    Where the number of tokens of a reply that is not streamed is unknown, only what holds for any number is said: the
    strained bound is unknown, and past the served bound of an empty answer the reply stays unjudged.
    """
    n = len(streamed)
    if profile.whole_answer is not None:
        bounds = profile.whole_answer
        return np.full(n, bounds.served), np.full(n, bounds.strained), np.ones(n, dtype=np.bool_)
    if profile.first_word is None or profile.typing is None:
        return np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.bool_)
    served = profile.first_word.served + saw.tokens / profile.typing.served
    strained = profile.first_word.strained + saw.tokens / profile.typing.strained
    unknown = np.isnan(saw.tokens)
    short = saw.elapsed <= profile.first_word.served
    served = np.where(unknown, np.where(short, np.inf, np.nan), served)
    return served, strained, ~streamed


def _overall(by: Mapping[str, Grades], ours: Bools, needs_first_word: Bools) -> Grades:
    """The worst dimension; open where we ended it before anything was decided, or where a mark is missing."""
    worst = np.maximum.reduce([by[dimension] for dimension in DIMENSIONS])
    undecided = ours | (needs_first_word & (by["first_word"] == UNJUDGED)) | (by["answer"] == UNJUDGED)
    return np.where(undecided & (worst <= SERVED), UNJUDGED, worst).astype(np.int8)
