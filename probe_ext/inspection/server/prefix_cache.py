"""Is the prefix cache on, as seen from outside?

Pairs of requests with the same long beginning and different ends: with a prefix cache, the second of each pair skips
the prefill of the first. The ends differ, so that a cache of whole responses does not look like one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from probe_ext.access.sender import Answered, Question
from probe_ext.inspection.check_result import CheckResult, Figures, Status
from probe_ext.inspection.subject import Subject
from probe_ext.measure import clock
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things, was_or_were

_PAIRS, _MIN_PAIRS = 6, 3
_PROMPT_TOKENS = 1500
_MIN_PROMPT_TOKENS = 300
_MAX_S = 25.0
_FASTER = 0.8
"""of the first request's TTFT, below which the second is called faster"""
_VISIBLE_FACTOR, _VISIBLE_S = 1.5, 0.01
"""how much longer a long prompt must take than a short one for its prefill to be seen"""
_CACHED_SHARE = 0.3
_MORE_TOKENS = 16
"""of a reply whose first token shows nothing, as the opening tag of reasoning, which a parser takes out"""
_REFUSED = frozenset({400, 413, 422})
_ENDS = ("Summarise this.", "List the words.")
_SWITCH = "If prompts share a beginning, switch it on (vLLM: `--enable-prefix-caching`)."


@dataclass(frozen=True, slots=True)
class Pair:
    """TTFT in seconds of a fresh long prompt, and of the same with another end."""

    fresh: float
    repeat: float


@dataclass(frozen=True, slots=True)
class Counted:
    """What the server counts: tokens of the pairs' second prompts, and how many of them came from the cache."""

    prompt: int
    cached: int


def prefix_cache(subject: Subject) -> CheckResult:
    """Send pairs of long prompts, and compare their first-token times."""
    room = subject.longest_prompt
    tokens = min(_PROMPT_TOKENS, _PROMPT_TOKENS if room is None else room - _MIN_PROMPT_TOKENS // 2)
    if tokens < _MIN_PROMPT_TOKENS:
        return CheckResult("prefix_cache", Status.UNKNOWN, "The context is too short for a long prompt.")
    reply_tokens = 1
    began, pairs, repeats = clock.monotonic(), list[Pair](), list[Answered]()
    while len(pairs) < _PAIRS and clock.monotonic() - began < min(_MAX_S, subject.seconds_left):
        beginning = subject.prompt(tokens).text
        first, second = (subject.sender.ask(Question(f"{beginning} {end}", reply_tokens)) for end in _ENDS)
        if first.ttft is None or second.ttft is None:
            # The lengths of prompts are estimated: this one may not fit the context.
            if first.status in _REFUSED and not pairs and tokens // 2 >= _MIN_PROMPT_TOKENS:
                tokens //= 2
                continue
            if first.ok and first.streamed and reply_tokens == 1:
                reply_tokens = _MORE_TOKENS
                continue
            why = first.message or second.message or "no token times"
            return CheckResult(
                "prefix_cache", Status.UNKNOWN, f"A prompt of {tokens} tokens got no streamed reply: {why}."
            )
        pairs.append(Pair(first.ttft, second.ttft))
        repeats.append(second)
    short = [sample.ttft for sample in subject.answers if sample.ttft is not None]
    return judged(pairs, median(short) if short else None, _counted(repeats))


def _counted(repeats: Sequence[Answered]) -> Counted | None:
    """Return what the server says of its cache; None where it does not, or where it never reports a hit."""
    told = [(reply.tokens_in, reply.tokens_cached) for reply in repeats]
    known = [(prompt, cached) for prompt, cached in told if prompt is not None and cached is not None]
    return Counted(sum(p for p, _ in known), sum(c for _, c in known)) if known else None


def judged(pairs: Sequence[Pair], short: float | None, counted: Counted | None) -> CheckResult:
    """Tell from the times, and from the server's count of cached tokens; `short`: a short prompt's TTFT."""
    if not pairs:
        return CheckResult("prefix_cache", Status.UNKNOWN, "No time left for a pair of long prompts.")
    fresh, repeat = median(pair.fresh for pair in pairs), median(pair.repeat for pair in pairs)
    faster = sum(pair.repeat < _FASTER * pair.fresh for pair in pairs)
    figures: Figures = {
        "pairs": len(pairs),
        "faster_pairs": faster,
        "ttft_fresh": fresh,
        "ttft_repeated": repeat,
        "cached_tokens": None if counted is None else counted.cached,
    }
    times = f"{faster} of {things(len(pairs), 'prompt')} {was_or_were(faster)} faster the second time (TTFT "
    times += f"{formats.seconds(fresh)}, then {formats.seconds(repeat)})"
    if counted is not None and counted.cached >= _CACHED_SHARE * counted.prompt:
        evidence = f"On: the server counts {counted.cached:,} of {counted.prompt:,} prompt tokens as cached; {times}."
        return CheckResult("prefix_cache", Status.OK, evidence, None, figures)
    chance = 0.5 ** len(pairs)
    if faster == len(pairs) and len(pairs) >= _MIN_PAIRS:
        evidence = f"On, with {formats.percent(1 - chance)} confidence: {times}."
        return CheckResult("prefix_cache", Status.OK, evidence, None, figures)
    visible = short is not None and fresh > _VISIBLE_FACTOR * short and fresh - short > _VISIBLE_S
    if faster <= 1 and len(pairs) >= _PAIRS - 1 and visible:
        evidence = (
            f"Off, with {formats.percent(1 - (len(pairs) + 1) * chance)} confidence: {times}, while a short prompt "
        )
        evidence += f"takes {formats.seconds(short)}."
        return CheckResult("prefix_cache", Status.OK, evidence, _SWITCH, figures)
    why = "" if visible else ", and the prefill is too short to be seen beside the rest"
    return CheckResult("prefix_cache", Status.UNKNOWN, f"Unclear: {times}{why}.", None, figures)
