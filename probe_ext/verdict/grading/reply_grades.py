"""Grade each reply as served, strained or broken, in each dimension and overall.

- `first_word`: the wait from when the user wanted to send, less the load generator's own lateness (or from `sent`, if
  the profile says so).
- `typing`: the decode rate 1/TPOT; not judged for short replies, for those of a single event, and where bytes that
  were held back leave it too uncertain (see `held_back.py`).
- `silence`: the longest gap in mid-reply, including one in which the reply died; not judged where something held back
  what the model wrote meanwhile.
- `answer`: whether a complete answer came, and if it was not streamed, whether in time: served up to
  first_word + n/typing seconds (chat profile: 1 s + n/10), strained up to the second bounds (10 s + n/5). A stream
  that arrives in one burst counts as not streamed. A profile with `whole_answer` judges every answer by its time,
  served up to served + n/served_rate seconds. So the wait of an agent is judged (profile `agent`): it cannot go on
  before the reply is complete, and waits from when its tool has returned (`due`), so that no tool's time is part of it.

A reply that the load generator aborted is judged by what had happened until then: a bound already passed counts,
otherwise it is open. Faults of the load generator (`client_error`) are never the server's and stay open.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probe_ext.measure.outcome import CLIENT_SIDE, FINISHED, Outcome
from probe_ext.settings.slo import Reasoning, SloProfile, Typing
from probe_ext.verdict.evidence.columns import Bools, Floats, flags, is_any, numbers
from probe_ext.verdict.evidence.evidence import Columns
from probe_ext.verdict.grading.held_back import MAX_BYTES_PER_TOKEN, Bundling, bundling, typing_range, uncounted
from probe_ext.verdict.values.json_types import DIMENSIONS

UNJUDGED, SERVED, STRAINED, BROKEN = np.int8(-1), np.int8(0), np.int8(1), np.int8(2)

Grades = NDArray[np.int8]
"""One of the grades above per reply."""


@dataclass(frozen=True)
class Experience:
    """What the user saw of each reply; NaN where it did not come to that."""

    waited: Floats
    """seconds until the first word"""
    rate: Floats
    """tokens per second; NaN where the profile does not judge it"""
    gap: Floats
    """longest silence in mid-reply, seconds"""


@dataclass(frozen=True)
class _WholeExperience(Experience):
    """And what only its grades need."""

    elapsed: Floats
    """seconds until the reply ended, in whatever way"""
    tokens: Floats


@dataclass(frozen=True)
class GradedReplies:
    """Grades of all replies; UNJUDGED where there is nothing to judge."""

    by: Mapping[str, Grades]
    """by each dimension alone"""
    overall: Grades
    """the worst of them; UNJUDGED means *open*"""
    experience: Experience
    arrived: Bundling
    typing_hidden: Bools
    """whether the typing speed is too uncertain to be judged"""


def judge_replies(
    columns: Columns, profile: SloProfile, reasoning: Reasoning, longest: float | None = None
) -> GradedReplies:
    """Grade every reply by every dimension of the profile.

    `longest`: tokens of the longest complete answer of the run, where these are only some of its replies.
    """
    ended, arrived = _endings(columns), bundling(columns)
    longest = longest_answer(columns) if longest is None else longest
    experience = _experience(columns, profile, reasoning, arrived, ended)
    slowest, fastest = typing_range(columns, experience.rate)
    typing, hidden = _typing(slowest, fastest, profile)
    experience = replace(experience, rate=np.where(hidden, np.nan, experience.rate))
    streamed = flags(columns, "streamed", default=True) & ~arrived.at_once
    by = {
        "first_word": np.where(streamed, _first_word(experience, profile), UNJUDGED),
        "typing": np.where(streamed, typing, UNJUDGED),
        "silence": np.where(streamed, _silence(experience, profile), UNJUDGED),
        "answer": _answer(experience, ended, streamed, profile, longest),
    }
    ours = ended["ended_by_us"]
    for dimension in ("typing", "silence"):
        # An aborted reply that was fine so far could still have gone wrong.
        by[dimension] = np.where(ours & (by[dimension] == SERVED), UNJUDGED, by[dimension])
    by = {dimension: np.where(ended["client_error"], UNJUDGED, grades) for dimension, grades in by.items()}
    overall = _overall(by, ours, streamed & (profile.first_word is not None))
    seen = Experience(experience.waited, experience.rate, experience.gap)
    return GradedReplies(by, overall, seen, arrived, hidden & streamed)


def pick_grades(first: Bools, these: GradedReplies, others: GradedReplies) -> GradedReplies:
    """Return `these` where `first` is true, and `others` elsewhere."""

    def pick(a: Any, b: Any) -> Any:
        if isinstance(a, np.ndarray):
            return np.where(first, a, b)
        if isinstance(a, Mapping):
            return {name: pick(a[name], b[name]) for name in a}
        return replace(a, **{field.name: pick(getattr(a, field.name), getattr(b, field.name)) for field in fields(a)})

    picked: GradedReplies = pick(these, others)
    return picked


def _experience(
    columns: Columns, profile: SloProfile, reasoning: Reasoning, arrived: Bundling, ended: Mapping[str, Bools]
) -> _WholeExperience:
    """Return what the user saw: of all text, or with `hidden` of the text outside reasoning."""
    suffix = "_visible" if reasoning == "hidden" else ""
    base = asked_at(columns, profile)
    first, end, last = (numbers(columns, name) for name in ("first" + suffix, "end", "last"))
    events = numbers(columns, "events" + suffix)
    tokens = numbers(columns, "tokens_visible" if suffix else "tokens_out")
    tokens = np.where(np.isnan(tokens), events, tokens)
    unknown = uncounted(columns)
    least = np.where(unknown, np.fmax(tokens, numbers(columns, "text_bytes") // MAX_BYTES_PER_TOKEN), tokens)
    waiting_for_more = ended["ended_by_us"] & arrived.bundled
    died_silent = np.where(~ended["finished"] & ~waiting_for_more & ~np.isnan(first), end - last, np.nan)
    longest = np.where(arrived.held_gap, np.nan, numbers(columns, "longest_gap" + suffix))
    gap: Floats = np.fmax(longest, died_silent)
    # Rounded to the nanosecond, as in the files: subtracting must not make a wait of exactly 1 s longer.
    return _WholeExperience(
        waited=np.where(arrived.at_once, np.nan, np.round(first - base, 9)),
        elapsed=np.round(end - base, 9),
        rate=np.round(_rate(numbers(columns, "tpot" + suffix), least, events, profile.typing), 9),
        gap=np.round(gap, 9),
        tokens=np.where(unknown, np.nan, numbers(columns, "tokens_out")),
    )


def asked_at(columns: Columns, profile: SloProfile) -> Floats:
    """Return when each user's wait begins, seconds of the run."""
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
    """Return masks of the replies by how they ended."""

    def among(outcomes: frozenset[Outcome]) -> Bools:
        return is_any(columns, "outcome", outcomes)

    return {
        "complete": among(frozenset({Outcome.COMPLETE})),
        "ended_by_us": among(frozenset({Outcome.ENDED_BY_US})),
        "client_error": among(frozenset({Outcome.CLIENT_ERROR})),
        "finished": among(FINISHED),
        "broken": ~among(CLIENT_SIDE | {Outcome.COMPLETE}),
    }


def _at_most(values: Floats, served: Floats | float, strained: Floats | float) -> Grades:
    """Grade values against two bounds that belong to the better side; NaN is UNJUDGED."""
    grades = (values > served).astype(np.int8) + (values > strained).astype(np.int8)
    return np.where(np.isnan(values), UNJUDGED, grades).astype(np.int8)


def _first_word(experience: _WholeExperience, profile: SloProfile) -> Grades:
    if profile.first_word is None:
        return np.full(len(experience.waited), UNJUDGED)
    bounds = profile.first_word.served, profile.first_word.strained
    # Without a first word, the wait so far only shows which bounds it has already passed.
    so_far = _at_most(experience.elapsed, *bounds)
    so_far = np.where(so_far == SERVED, UNJUDGED, so_far)
    return np.where(np.isnan(experience.waited), so_far, _at_most(experience.waited, *bounds)).astype(np.int8)


def _typing(slowest: Floats, fastest: Floats, profile: SloProfile) -> tuple[Grades, Bools]:
    """Grade a range of typing speeds; where its ends get different grades, neither is known."""
    if profile.typing is None:
        return np.full(len(slowest), UNJUDGED), np.zeros(len(slowest), dtype=np.bool_)
    bounds = -profile.typing.served, -profile.typing.strained
    worst, best = _at_most(-slowest, *bounds), _at_most(-fastest, *bounds)
    hidden = worst != best
    return np.where(hidden, UNJUDGED, worst), hidden


def _silence(experience: _WholeExperience, profile: SloProfile) -> Grades:
    if profile.silence is None:
        return np.full(len(experience.gap), UNJUDGED)
    # These bounds belong to the worse side: "less than 2 s".
    below = np.nextafter(profile.silence.served, 0.0), np.nextafter(profile.silence.strained, 0.0)
    return _at_most(experience.gap, *below)


def _answer(
    experience: _WholeExperience, ended: Mapping[str, Bools], streamed: Bools, profile: SloProfile, longest: float
) -> Grades:
    """Grade a complete answer by its time if it is judged; broken for every ending that the server caused."""
    served, strained, timed = _whole_answer_bounds(experience, ended, streamed, profile, longest)
    in_time = _at_most(np.where(timed & ~np.isnan(served), experience.elapsed, np.nan), served, strained)
    complete = np.where(timed, in_time, SERVED)
    so_far = np.where(in_time == SERVED, UNJUDGED, in_time)
    grades = np.where(ended["complete"], complete, np.where(ended["ended_by_us"], so_far, UNJUDGED))
    return np.where(ended["broken"], BROKEN, grades).astype(np.int8)


def longest_answer(columns: Columns, ended: Bools | None = None) -> float:
    """Return the tokens of the longest complete answer, of the replies that have `ended`; NaN without any."""
    complete = is_any(columns, "outcome", {Outcome.COMPLETE}) & ~uncounted(columns)
    tokens = numbers(columns, "tokens_out")[complete if ended is None else complete & ended]
    return float(np.nanmax(tokens)) if (~np.isnan(tokens)).any() else np.nan


def _most_tokens(experience: _WholeExperience, ended: Mapping[str, Bools], longest: float) -> Floats:
    """Return the tokens of each complete answer; of one that we ended, those of the longest complete one of the run.

    How long it would have become is not known, so it has missed its bound only if it has missed that of any answer.
    """
    return np.where(ended["ended_by_us"], np.maximum(np.nan_to_num(experience.tokens), longest), experience.tokens)


def _whole_answer_bounds(
    experience: _WholeExperience, ended: Mapping[str, Bools], streamed: Bools, profile: SloProfile, longest: float
) -> tuple[Floats, Floats, Bools]:
    """Return both bounds of each reply in seconds, and whether it is judged by its whole time at all.

    For a reply that is not streamed, with an unknown number of tokens, the strained bound is unknown, and past the
    served bound of an empty answer the reply stays unjudged.
    """
    n = len(streamed)
    if profile.whole_answer is not None:
        bounds, tokens = profile.whole_answer, _most_tokens(experience, ended, longest)
        served = bounds.served + (tokens / bounds.served_rate if bounds.served_rate else np.zeros(n))
        strained = bounds.strained + (tokens / bounds.strained_rate if bounds.strained_rate else np.zeros(n))
        return served, strained, np.ones(n, dtype=np.bool_)
    if profile.first_word is None or profile.typing is None:
        return np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.bool_)
    served = profile.first_word.served + experience.tokens / profile.typing.served
    strained = profile.first_word.strained + experience.tokens / profile.typing.strained
    unknown = np.isnan(experience.tokens)
    short = experience.elapsed <= profile.first_word.served
    served = np.where(unknown, np.where(short, np.inf, np.nan), served)
    return served, strained, ~streamed


def _overall(by: Mapping[str, Grades], ours: Bools, needs_first_word: Bools) -> Grades:
    """Return the worst dimension; open where the reply was aborted undecided, or where a timestamp is missing."""
    worst = np.maximum.reduce([by[dimension] for dimension in DIMENSIONS])
    undecided = ours | (needs_first_word & (by["first_word"] == UNJUDGED)) | (by["answer"] == UNJUDGED)
    return np.where(undecided & (worst <= SERVED), UNJUDGED, worst).astype(np.int8)
