"""Signs that answers do not come from the model, or not all of them. Pure: samples in, signs with their evidence out.

A sign is claimed only where no honest server that we know of could look the same:

- *Response cache*: in every pair, the repeated prompt gets the same text as before; its answer takes at most a quarter
  of the fastest new prompt's time, or its tokens arrive at least five times as fast; and the engine's own counter does
  not grow for it although it grows for the new one. Without a counter, both must hold, and the whole answer must take
  less than a single token of a new prompt. A prefix cache saves only the wait for the first token; a proxy that
  collects streams delays both alike; drafts from earlier outputs take a few steps of the engine, and are counted by it.
- *Cut answers*: every answer has at most four tokens where 64 were asked for, and either the server says that it
  stopped at the limit it was given (`length`) after one or two, or its engine was asked not to stop before it and is
  known to check that request. A model that answers briefly does neither. Where the engine's counter shows that it
  generated more than arrived, the rest may be thinking that is not shown, and nothing is claimed.

Where a server is only suspicious, that is a note, not a sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from probe_ext.inspection.scout.samples import Pair, Sample
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things

MIN_PAIRS = 4
MIN_CACHED_TOKENS = 8
"""Shorter answers repeat themselves, and take no time, honestly."""
MIN_SPEED_UP = 4.0
"""Of the whole answer: slowest repeat against fastest new prompt."""
MIN_TYPING_SPEED_UP = 5.0
MIN_PER_TOKEN_S = 1e-4
"""Time per token of new prompts below which nothing is slower to compare with."""
COUNTED_SHARE, UNCOUNTED_SHARE = 0.8, 0.2
"""Of a reply's tokens: growth of the engine's counter that shows it generated them, and that it did not."""

MIN_ANSWERS = 8
MAX_CUT_TOKENS, MAX_CUT_BY_LENGTH = 4, 2
MAX_GENERATED_SHARE = 2.0
MAX_CHARACTERS_PER_TOKEN = 12
"""More text than that is not what so few tokens hold: the server's count is wrong."""
MIN_ASKED = 32


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that an honest server does not do."""

    name: str
    """`response cache` or `cut answers`"""
    evidence: str


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Result of both tests."""

    signs: tuple[Sign, ...]
    notes: tuple[str, ...]
    """what was seen and proves nothing, and what could not be tested"""


def suspicion(
    primer: Sample | None,
    pairs: Sequence[Pair],
    answers: Sequence[Sample],
    *,
    obeys: bool | None,
    round_trip: float | None = None,
) -> Suspicion:
    """Test a server for both cheats.

    `primer`: the first reply to the repeated prompt. `obeys`: whether the engine is known to check and obey the request
    not to stop early, which `answers` then carried; None: not asked. `round_trip`: seconds to the server and back.
    """
    cache, cache_note = _response_cache(primer, pairs, round_trip)
    cut, cut_note = _cut_answers(answers, obeys=obeys, generated_more=_generated_more(pairs))
    return Suspicion(
        tuple(sign for sign in (cache, cut) if sign), tuple(note for note in (cache_note, cut_note) if note)
    )


def _response_cache(primer: Sample | None, pairs: Sequence[Pair], round_trip: float | None) -> tuple[Sign | None, str]:
    whole = [pair for pair in pairs if pair.fresh.ok and pair.repeat.ok]
    if primer is None or not primer.ok or len(whole) < MIN_PAIRS:
        return None, f"response cache: {things(len(whole), 'pair')} of prompts so far, too few to tell"
    lengths = [sample.tokens for pair in whole for sample in (pair.fresh, pair.repeat)]
    if any(tokens is None or tokens < MIN_CACHED_TOKENS for tokens in lengths):
        return None, "response cache: answers are too short, or their tokens not counted, so it is unknown"
    if any(pair.repeat.text != primer.text for pair in whole):
        return None, ""
    counted, faster, typed = _counter(whole), _answered_faster(whole), _typed_faster(whole)
    reasons = [reason for reason in (faster, typed) if reason]
    if not reasons:
        return None, ""
    if counted is None and faster and typed and _impossible(whole, round_trip):
        reasons.append("that is less than the model takes for a single token")
    elif counted is False:
        reasons.append("the engine's own counter of generated tokens did not grow for them, but did for new ones")
    else:
        return None, f"response cache: of repeated prompts, {reasons[0]}; drafts or a prefix cache may explain it"
    repeats = things(len(whole), "repeated prompt")
    return Sign("response cache", f"{repeats} got the same text as before; {'; '.join(reasons)}."), ""


def _impossible(pairs: Sequence[Pair], round_trip: float | None) -> bool:
    """Tell whether no engine can be so fast: whole repeats took less than one token of new prompts.

    Drafts from earlier outputs answer a repeated prompt in a few steps of the engine, but not in less than one.
    """
    slowest, token = _most([p.repeat.whole for p in pairs]), _least([p.fresh.per_token for p in pairs])
    return slowest is not None and token is not None and slowest - (round_trip or 0.0) < token


def _answered_faster(pairs: Sequence[Pair]) -> str:
    """Say how much faster repeats were answered; empty where that is not so."""
    slowest, fastest = _most([p.repeat.whole for p in pairs]), _least([p.fresh.whole for p in pairs])
    if slowest is None or fastest is None or slowest * MIN_SPEED_UP > fastest:
        return ""
    return f"they took at most {formats.seconds(slowest)}, new ones {formats.seconds(fastest)} or more"


def _typed_faster(pairs: Sequence[Pair]) -> str:
    """Say how much faster repeats were typed; empty where that is not so, or cannot be seen."""
    slowest, fastest = _most([p.repeat.per_token for p in pairs]), _least([p.fresh.per_token for p in pairs])
    if slowest is None or fastest is None or fastest < MIN_PER_TOKEN_S or slowest * MIN_TYPING_SPEED_UP > fastest:
        return ""
    if slowest < MIN_PER_TOKEN_S / MIN_CACHED_TOKENS:
        return "all their tokens arrived at once"
    return f"a token took {formats.seconds(slowest)} or less instead of {formats.seconds(fastest)} or more"


def _counter(pairs: Sequence[Pair]) -> bool | None:
    """Tell whether the engine's counter says that it generated the repeats; None: it says nothing reliable."""
    shares = []
    for pair in pairs:
        fresh, repeat = pair.fresh_generated, pair.repeat_generated
        if fresh is None or repeat is None or not pair.fresh.tokens or not pair.repeat.tokens:
            return None
        shares.append((fresh / pair.fresh.tokens, repeat / pair.repeat.tokens))
    if all(fresh >= COUNTED_SHARE and repeat <= UNCOUNTED_SHARE for fresh, repeat in shares):
        return False
    return True if any(repeat > UNCOUNTED_SHARE for _, repeat in shares) else None


def _generated_more(pairs: Sequence[Pair]) -> bool:
    """Tell whether the engine generated clearly more than what arrived, for any of the new prompts."""
    return any(
        pair.fresh.ok
        and pair.fresh_generated is not None
        and pair.fresh_generated > MAX_GENERATED_SHARE * (pair.fresh.tokens or 0) + MAX_CUT_TOKENS
        for pair in pairs
    )


def _cut_answers(answers: Sequence[Sample], *, obeys: bool | None, generated_more: bool) -> tuple[Sign | None, str]:
    ended = [answer for answer in answers if answer.ok and answer.asked >= MIN_ASKED]
    if len(ended) < MIN_ANSWERS:
        return None, f"cut answers: {things(len(ended), 'complete answer')} so far, too few to tell"
    longest = _most([None if a.tokens is None else float(a.tokens) for a in ended])
    if longest is None:
        return None, "cut answers: the server does not count tokens, so it is unknown"
    if longest > MAX_CUT_TOKENS or any(len(a.text) > MAX_CHARACTERS_PER_TOKEN * (a.tokens or 0) for a in ended):
        return None, ""
    each = "1 token" if longest <= 1 else f"at most {things(int(longest), 'token')}"
    asked = min(answer.asked for answer in ended)
    short = f"all {things(len(ended), 'answer')} had {each} where {asked} were asked for"
    contradiction = _contradiction(ended, longest, obeys=obeys)
    if contradiction and not generated_more:
        return Sign("cut answers", f"{short}, {contradiction}."), ""
    if contradiction:
        return None, f"cut answers: {short}, but the engine generated more: hidden thinking, or others' load"
    return None, f"cut answers: {short}; a model that answers briefly looks the same, so it is unknown"


def _contradiction(ended: Sequence[Sample], longest: float, *, obeys: bool | None) -> str:
    """Say why a model that answers briefly does not explain such short answers; empty if it may."""
    if longest <= MAX_CUT_BY_LENGTH and all(answer.finish == "length" for answer in ended):
        return "and the server says that they reached that limit"
    return "although the request set ignore_eos, which this engine obeys" if obeys else ""


def _most(values: Sequence[float | None]) -> float | None:
    """Return the largest value; None if one is not known."""
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None


def _least(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return min(known) if known and len(known) == len(values) else None
