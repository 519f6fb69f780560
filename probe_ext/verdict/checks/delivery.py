"""Did replies arrive as the server wrote them, or did something hold their bytes back on the way?"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from probe_ext.measure.findings import FindingState
from probe_ext.measure.table_rows import DOCUMENT, ONE_EVENT, STREAM
from probe_ext.measure.timeline import BURST_S, MIN_BURST_TOKENS
from probe_ext.verdict.checks.client_accuracy import keep_up_advice
from probe_ext.verdict.checks.proxy_settings import (
    DOCUMENT_ADVICE,
    ONE_EVENT_ADVICE,
    SERVER_SETTINGS,
    proxy_advice,
)
from probe_ext.verdict.checks.token_counts import usage_advice
from probe_ext.verdict.evidence.columns import Bools, Floats, flags, is_any, numbers, text_counts
from probe_ext.verdict.evidence.evidence import Columns, Evidence, quantile
from probe_ext.verdict.grading.held_back import MIN_SEGMENTS_PER_EVENT, MIN_STREAM_TOKENS, uncounted
from probe_ext.verdict.grading.reply_grades import GradedReplies
from probe_ext.verdict.phrasing.formats import percent, seconds
from probe_ext.verdict.phrasing.plurals import capitalised, listed, some_of, things, was_or_were
from probe_ext.verdict.values.finding import Finding

MAX_UNRESOLVED_SHARE = 0.10
"""Of all reads."""
MAX_HIDDEN_SHARE = 0.10
"""Of the replies that would be judged by their typing speed. A person is served if 90 % of their replies are, so more
unjudged ones could change the state of a level."""
_STREAMED = tuple(f"streamed {reply} of {MIN_STREAM_TOKENS} tokens or more" for reply in ("reply", "replies"))
"""singular and plural"""
MAX_HELD_SHARE = 0.05
"""Of the streamed replies; a few may have met a lost packet or a busy moment."""
MIN_TELLING_GAP_S = 1.0
"""A gap this long is noticed; shorter bursts alone are no reason to warn."""
MIN_TELLING_DELAY_S = 0.1
"""Of the first word: a tenth of what the strictest of the usual promises allows."""
MAX_UNSTREAMED_SHARE = 0.05
"""Of the replies that were to be streamed; a few may be short or come from a cache."""


Cause = Literal["server_side", "this_machine"]


@dataclass(frozen=True)
class _CausedFinding:
    """A finding, with what is known to hold tokens together; its advice follows from that."""

    finding: Finding
    cause: Cause | None = None
    """None: no bursts, or several things may be the reason"""


def delivery_checks(evidence: Evidence, graded: GradedReplies) -> Iterator[Finding]:
    """Yield the checks of streaming, of bytes and events that were held back, and of what that hides."""
    ours, theirs = keep_up_advice(evidence.manifest), proxy_advice(_named(evidence.replies))
    found = (
        *(
            _unresolved_reads(evidence.replies, f"{theirs} {ours}"),
            _CausedFinding(_not_streamed(evidence.replies, graded)),
        ),
        *(_held_back(evidence.replies, graded), _CausedFinding(_held_in_events(evidence.replies, graded))),
        _typing_known(evidence, graded),
    )
    yield from _advised_by_cause(found, {"server_side": theirs, "this_machine": ours})


def _advised_by_cause(found: Sequence[_CausedFinding], advice: Mapping[Cause, str]) -> Iterator[Finding]:
    """Yield the findings with the advice for their cause, given once where bytes were held back.

    Where this machine read late, bursts may be its own doing, and the server is not blamed for them.
    """
    causes = {one.finding.check: one.cause for one in found}
    for one in found:
        if one.cause is None or (causes["held_back"] and one.finding.check != "held_back"):
            yield one.finding
        elif one.finding.check == "held_back" and causes["unresolved_reads"] == "this_machine":
            why = f"{one.finding.why} As this machine read late, that may be its own doing."
            yield replace(one.finding, why=why, advice=advice["this_machine"])
        else:
            yield replace(one.finding, advice=advice[one.cause])


def _unresolved_reads(replies: Columns, unknown_cause_advice: str) -> _CausedFinding:
    """Reads that carried several token events: the gaps between those are unknown."""
    unresolved, reads = (numbers(replies, name) for name in ("reads_unresolved", "reads"))
    if not np.nansum(reads):
        why = "How many reads carried several tokens is not known."
        return _CausedFinding(Finding("unresolved_reads", "unproven", False, why))
    share = float(np.nansum(unresolved) / np.nansum(reads))
    why = f"{percent(share)} of reads carried several tokens."
    if share <= MAX_UNRESOLVED_SHARE:
        return _CausedFinding(Finding("unresolved_reads", "pass", False, f"{why[:-1]}: gaps between tokens are known."))
    why += " The gaps between those tokens are unknown."
    together = _put_together(replies, unresolved > 0)
    if together is None:
        advice = f"Something bundles tokens, or the load generator was late. {unknown_cause_advice}"
        return _CausedFinding(Finding("unresolved_reads", "fail", False, why, advice))
    if together:
        why += " The kernel received them together, so this machine is not the reason."
        return _CausedFinding(Finding("unresolved_reads", "fail", False, why), "server_side")
    why += " The kernel received them one by one, so this machine read them too late."
    return _CausedFinding(Finding("unresolved_reads", "fail", False, why), "this_machine")


def _put_together(replies: Columns, among: Bools) -> bool | None:
    """Tell whether tokens shared a read because they arrived together; None if neither source knows.

    Segments show it directly. Without them: a bundle that was collected for longer than any read was late is not ours.
    """
    events, segments = numbers(replies, "events"), numbers(replies, "segments")
    counted = among & ~np.isnan(segments) & (events > 1)
    if counted.any():
        return bool(segments[counted].sum() < MIN_SEGMENTS_PER_EVENT * events[counted].sum())
    held, lag = numbers(replies, "held_max"), numbers(replies, "lag_max")
    timed = among & ~np.isnan(held) & ~np.isnan(lag)
    if not timed.any():
        return None
    return True if np.median(held[timed] / np.maximum(lag[timed], BURST_S)) > 2 else None


def _not_streamed(replies: Columns, graded: GradedReplies) -> Finding:
    """Replies that came in one piece although a stream was requested."""
    asked = is_any(replies, "delivery", {STREAM, ONE_EVENT, DOCUMENT})
    kinds = {
        "one JSON document": is_any(replies, "delivery", {DOCUMENT}),
        "all text in one event": is_any(replies, "delivery", {ONE_EVENT}),
        "all events at the same moment": graded.arrived.at_once,
    }
    pieces = np.logical_or.reduce(list(kinds.values())) & asked
    total, whole = int(asked.sum()), int(pieces.sum())
    if not total:
        return Finding("not_streamed", "unproven", False, "No reply arrived for which a stream was requested.")
    if whole <= MAX_UNSTREAMED_SHARE * total:
        came = "came as a stream" if total == 1 else "came as streams"
        why = f"{_replies(total - whole, total)} that began to arrive {came}, as requested."
        return Finding("not_streamed", "pass", False, why)
    found = {name: int((mask & asked).sum()) for name, mask in kinds.items()}
    named = listed([f"{n:,} with {name}" for name, n in found.items() if n])
    they_are = "It is" if whole == 1 else "They are"
    why = (
        f"{_replies(whole, total)} {was_or_were(whole)} not streamed although a stream was requested ({named}). "
        f"{they_are} judged by the time until the whole answer; first word and typing speed are unknown."
    )
    most = max(found, key=found.__getitem__)
    if most == "all events at the same moment":
        advice = f"Something collects the stream until it ends. {proxy_advice(_named(replies))}"
    elif most == "one JSON document":
        advice = DOCUMENT_ADVICE
    else:
        advice = ONE_EVENT_ADVICE
    return Finding("not_streamed", "fail", False, why, advice)


def _held_back(replies: Columns, graded: GradedReplies) -> _CausedFinding:
    """Several events at once, after a gap in which the model went on writing: something collects bytes."""
    several = ~np.isnan(numbers(replies, "held_max"))
    held = graded.arrived.bundled & several & ~graded.arrived.at_once
    state, why = _bursts(replies, graded, held, "several events at once")
    return _CausedFinding(Finding("held_back", state, False, why), "server_side" if state == "fail" else None)


def _held_in_events(replies: Columns, graded: GradedReplies) -> Finding:
    """Many tokens in one event, after a gap in which the model went on writing: a parser or gateway collects text."""
    several = ~np.isnan(numbers(replies, "held_max"))
    held = (graded.arrived.bundled | graded.arrived.held_gap) & ~several & (numbers(replies, "events") > 1)
    state, why = _bursts(replies, graded, held, "many tokens in one event")
    return Finding("held_in_events", state, False, why, SERVER_SETTINGS if state == "fail" else "")


def _bursts(replies: Columns, graded: GradedReplies, held: Bools, how: str) -> tuple[FindingState, str]:
    """Say how many replies arrived in bursts, how large and how far apart these were, and what is not judged."""
    streamed = flags(replies, "streamed", default=True) & (numbers(replies, "tokens_out") >= MIN_STREAM_TOKENS) | held
    if not streamed.any() or np.isnan(numbers(replies, "tokens_held")[streamed]).all():
        return "unproven", "Whether tokens arrived in bursts is not known."
    gap, total, affected = numbers(replies, "longest_gap"), int(streamed.sum()), int(held.sum())
    # The longest gap of other replies had another cause: it ended in fewer tokens than a burst has.
    by_gap = held & ((numbers(replies, "gap_tokens") >= MIN_BURST_TOKENS) | uncounted(replies))
    delay = _first_word_delay(replies)
    delayed = held & (numbers(replies, "tokens_first") >= MIN_BURST_TOKENS) & (delay >= MIN_TELLING_DELAY_S)
    noticed, unjudged = by_gap & (gap >= MIN_TELLING_GAP_S) | delayed, held & graded.typing_hidden
    arrived = f"{capitalised(some_of(affected, total, *_STREAMED))} arrived in bursts ({how})"
    if (noticed | unjudged).sum() <= MAX_HELD_SHARE * total:
        if not affected:
            return "pass", f"No reply arrived in bursts ({how})."
        return "pass", f"{arrived}: too few, or too short, to matter."
    why = f"{arrived}: {_size(replies, held, by_gap)}"
    late = delayed & (numbers(replies, "headers") >= numbers(replies, "first") - BURST_S)
    if delayed.any():
        some = f"In {delayed.sum():,} of them, the first word"
        if delayed.sum() == affected:
            some = "The first word" if affected == 1 else "Their first words"
        why += f" {some} came about {seconds(quantile(delay[delayed], 0.5))} later as a result"
        in_them = "" if affected == 1 else f"in {late.sum():,} of them, "
        why += f"; {in_them}so did the response headers." if late.any() else "."
    left_out = [(int((held & graded.arrived.held_gap).sum()), "gaps"), (int(unjudged.sum()), "typing speed")]
    parts = [f"the {what} of {things(n, 'reply', 'replies')}" for n, what in left_out if n]
    return "fail", f"{why} Not judged: {listed(parts)}." if parts else why


def _first_word_delay(replies: Columns) -> Floats:
    """Return how long the first word waited for the burst it came in: the time to write that, at most all it took."""
    written = (numbers(replies, "tokens_first") - 1) * numbers(replies, "tpot")
    return np.asarray(np.fmin(written, numbers(replies, "first") - numbers(replies, "sent")))


def _size(replies: Columns, held: Bools, by_gap: Bools) -> str:
    """Say how large bursts were and how far apart, where most replies show it; `by_gap`: their longest gap ended so."""
    if 2 * by_gap.sum() < held.sum():
        share = quantile((numbers(replies, "tokens_held") / numbers(replies, "tokens_out"))[held], 0.5)
        its = "its" if held.sum() == 1 else "their"
        return f"about {percent(share)} of {its} tokens came {MIN_BURST_TOKENS} or more at a time."
    size = quantile(numbers(replies, "gap_tokens")[by_gap], 0.5)
    unknown = by_gap & uncounted(replies)
    number = f"{'at least' if unknown.any() else 'about'} {things(round(size or 1), 'token')}"
    after = seconds(quantile(numbers(replies, "longest_gap")[by_gap], 0.5))
    return f"{number} after a gap of {after}{_meanwhile(replies, unknown)}"


def _meanwhile(replies: Columns, unknown: Bools) -> str:
    """Say how it is known that the model went on writing; `unknown`: replies whose tokens were not counted."""
    if not unknown.any():
        return ", while the model went on writing."
    if not np.isnan(numbers(replies, "gap_generating")[unknown]).any():
        return ", while the engine's counter of generated tokens went on rising."
    return (
        ". The server counts no tokens of replies, and how many the engine generated meanwhile was not read: whether "
        "the model itself paused is not known."
    )


def _typing_known(evidence: Evidence, graded: GradedReplies) -> _CausedFinding:
    """Whether the typing speed of enough replies is known to judge levels by it."""
    replies = evidence.replies
    hidden, known = int(graded.typing_hidden.sum()), int((~np.isnan(graded.experience.rate)).sum())
    total = hidden + known
    if not total:
        return _CausedFinding(Finding("typing_known", "unproven", False, "No reply has a typing speed."))
    if hidden <= MAX_HIDDEN_SHARE * total:
        known_of = some_of(known, total, "reply", "replies")
        why = f"The typing speed is known for {known_of} that should show one."
        return _CausedFinding(Finding("typing_known", "pass", False, why))
    unknown = int((graded.typing_hidden & uncounted(replies)).sum())
    reasons = [f"{hidden - unknown:,} arrived in bursts"] if hidden > unknown else []
    reasons += [f"of {unknown:,} the tokens were not counted, and events may hold several"] if unknown else []
    why = (
        f"Typing speed is not judged in {hidden:,} of {things(total, 'reply', 'replies')} ({listed(reasons)}): it is "
        "not known closely enough to say whether it met the bound."
    )
    if unknown:
        return _CausedFinding(Finding("typing_known", "fail", False, why, usage_advice(evidence.manifest)))
    return _CausedFinding(Finding("typing_known", "fail", False, why), "server_side")


def _named(replies: Columns) -> Sequence[str]:
    """Return the software that most replies name, the nearest first."""
    named = text_counts(replies, "via")
    del named[""]
    return named.most_common(1)[0][0].split(", ") if named else ()


def _replies(some: int, total: int) -> str:
    return capitalised(some_of(some, total, "reply", "replies"))
