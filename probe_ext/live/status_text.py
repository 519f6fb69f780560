"""The current state in a sentence or two, for the live page."""

from dataclasses import dataclass
from typing import Literal

from probe_ext.live.live_levels import LevelNow
from probe_ext.live.live_run import Now
from probe_ext.live.rolling_replies import RollingNow
from probe_ext.measure.rate import Rate
from probe_ext.verdict.checks.other_load import share_in_words
from probe_ext.verdict.phrasing import plurals
from probe_ext.verdict.phrasing.formats import percent, rate, seconds, span
from probe_ext.verdict.values.answer import Answer
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate
from probe_ext.verdict.wording.capacity_phrase import proven_phrase, suggested_phrase
from probe_ext.verdict.wording.kind_phrases import by_kind
from probe_ext.verdict.wording.unproven_level import MORE_REPLIES_TELL, reason_in_words, what_settles

Tone = Literal["", "good", "bad"]


@dataclass(frozen=True)
class Headline:
    """A sentence that may start with a number, which is emphasised."""

    number: str
    rest: str
    tone: Tone = ""


def headline(now: Now | None, estimate: CapacityEstimate | None) -> Headline:
    """Say how many people can use the server at once, as far as the replies so far tell."""
    if now is None or not now.users:
        return Headline("", "No users.")
    if all_failed(now):
        return Headline(plurals.capitalised(_all_replies(now)), f" failed: {_reason(now)}", "bad")
    if now.gone:
        known = _so_far(estimate, now)
        until = f" Until then: {f'{known.number}{known.rest}'.strip()}" if known else ""
        return Headline("", f"{plurals.capitalised(no_longer_answers(now))}.{until}", "bad")
    if not now.replies:
        return Headline("", f"{plurals.people(now.users, now.who)}, no replies yet.")
    return _so_far(estimate, now) or Headline("", "Too early to say.")


def _so_far(estimate: CapacityEstimate | None, now: Now) -> Headline | None:
    """Say what the report would say, and why its range is wider than it was; None while nothing is known."""
    if estimate is None or estimate.interval in {None, (0, None)}:
        return None
    phrase = proven_phrase(estimate, now.pause, now.who) or suggested_phrase(estimate, now.pause, now.who)
    tone: Tone = "bad" if estimate.bracket[1] == 1 else ""
    rest = "".join(f" {part}" for part in (phrase.after, phrase.limits) if part)
    kinds = by_kind([(name, part.bracket) for name, part in estimate.parts.items()])
    wider = f" {now.widening.sentence}" if now.widening else ""
    return Headline(f"{phrase.before} {phrase.number}".strip(), f"{rest}, so far. {kinds}".rstrip() + wider, tone)


def short_capacity(estimate: CapacityEstimate | None) -> str:
    """Return `about 18 (14–24)`, `at least 8`, `8–15`; empty while nothing is known."""
    interval = estimate.interval if estimate else None
    if estimate is None or interval is None or interval == (0, None):
        return ""
    low, high = interval
    if high is None:
        return f"at least {low:,}"
    limits = f"{low:,}" if low == high else f"{low:,}–{high:,}"
    if estimate.placed_by_curve and low != high:
        return f"about {estimate.served_users or 0:,} ({limits})"
    if isinstance(high, Rate):
        return limits if low else f"less than {high:,}"
    return limits if low or high == 0 else f"fewer than {high + 1:,}"


def no_longer_answers(now: Now) -> str:
    """Return `the server no longer answers (connection refused since 0:42)`; empty while it does."""
    return now.gone and f"the server no longer answers ({now.gone})"


def all_failed(now: Now) -> str:
    """Return `all 24 replies failed: HTTP 400 …` if all did, for one reason; else an empty string."""
    if not now.failure or now.failed < now.replies:
        return ""
    return f"{_all_replies(now)} failed: {now.failure}"


def rolling_text(rolling: RollingNow | None) -> str:
    """Return `last 15 min: 4.1 replies/s, 2.1 % failed, TTFT p95 0.31 s`; empty while no window is full."""
    if rolling is None:
        return ""
    failed = "" if rolling.failed_share is None else f", {percent(rolling.failed_share)} failed"
    ttft = "" if rolling.ttft_p95 is None else f", TTFT p95 {seconds(rolling.ttft_p95)}"
    return f"last {span(rolling.seconds)}: {rate(rolling.complete_per_s)} replies/s{failed}{ttft}"


def _reason(now: Now) -> str:
    """Return the server's own words, and the option that helps if there is one."""
    words = f"{(now.failure or '').rstrip('.')}."
    return f"{words} {now.advice}" if now.advice else words


def _all_replies(now: Now) -> str:
    return plurals.some_of(now.replies, now.replies, "reply", "replies")


def answered(answer: Answer, *, any_served: bool) -> tuple[Headline, str]:
    """Return a report's answer: its first clause, and the rest. `any_served`: a level is proven to hold."""
    if answer.invalid or answer.caveats:
        return Headline("", answer.sentence), ""
    if not answer.number:
        return Headline("", answer.reported.removesuffix(answer.rest).rstrip()), answer.rest
    tone: Tone = "good" if any_served else "bad"
    return Headline(f"{answer.before} {answer.number}".strip(), f" {answer.clause}", tone), answer.rest


def progress(now: Now | None, position: str) -> str:
    """Say how the current level is doing, or when measuring starts, or why replies fail."""
    if now is None or not now.users:
        return ""
    if now.failure and not all_failed(now):  # which the headline says
        return f"{plurals.things(now.failed, 'reply', 'replies')} failed. {_reason(now)}"
    step = f"{plurals.capitalised(position)}. " if position else ""
    rolling = rolling_text(now.rolling)
    return step + _measuring(now) + (f" {plurals.capitalised(rolling)}." if rolling else "")


def _measuring(now: Now) -> str:
    if now.level is not None:
        return f"{plurals.people(now.users, now.who)} for {now.t - now.level.t_start:.0f} s: {level_status(now.level)}."
    if now.settles_in is not None:
        what = "rate" if isinstance(now.users, Rate) else "number of users"
        return f"The {what} has changed; measuring starts in {now.settles_in:.0f} s."
    return f"{plurals.people(now.users, now.who)}: not measuring yet."


def level_status(level: LevelNow) -> str:
    """Return the level's state by the replies so far."""
    if level.others is not None and not level.is_judged:
        return f"others use the server, not judged: {share_in_words(level.others)}"
    if level.is_early:
        return f"too early to say, {plurals.things(level.replies, 'measured reply', 'measured replies')}"
    share = (
        f"{percent(level.served_share)} of replies served {'in all visits ' if level.is_revisit else ''}"
        f"(95 %: {percent(level.served_share_low)} to {percent(level.served_share_high)})"
    )
    if level.state == "held":
        return f"{share}, this level holds so far"
    if level.state == "failed":
        causes = plurals.listed([plurals.cause(dimension) for dimension in level.why])
        return f"{share}, this level fails so far, limited by {causes or 'all dimensions together'}"
    said = f"{share}, not proven yet: {reason_in_words(level.reasons, level.served_share)}"
    if level.replies_needed and {*level.reasons} <= MORE_REPLIES_TELL:
        said += f"; {what_settles(level.replies_needed)}"
    return said
