"""The answer in plain sentences, for a reader who has never seen the tool. Every output takes it from here."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from probe_ext.measure.rate import Rate
from probe_ext.verdict.phrasing.formats import percent
from probe_ext.verdict.phrasing.plurals import Who, capitalised, is_or_are, listed, people, things, was_or_were
from probe_ext.verdict.phrasing.plurals import levels as levels_named
from probe_ext.verdict.values.answer import Answer
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, GroupCapacity, LevelEstimate
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.wording.capacity_phrase import (
    Phrase,
    interval_text,
    named_suggestion,
    proven_phrase,
    suggested_phrase,
    too_many,
)
from probe_ext.verdict.wording.kind_phrases import limit_sentence, without
from probe_ext.verdict.wording.next_run import REVISIT, NextMeasurement, is_too_close
from probe_ext.verdict.wording.shared_trait_phrase import shared_in_words

_NOT_THE_MODEL = {"response_cache": "from a response cache", "cut_answers": "cut short"}
"""Rules of the diagnosis under which the replies are not what the model would say."""

_NOT_THE_LOAD = {"equal_failures", "api_key"}
"""Checks whose replies are left out: what the server said of them, and what helps, is the answer."""
TYPING_UNKNOWN = "typing_known"
"""The finding that fails if the typing speed of too many replies is unknown."""
_NARROWED_BY = {
    TYPING_UNKNOWN: "Without typing speed, which is not known",
    "server_gone": "The server stopped answering during the run; until then",
    "not_streamed": "Judged by whole-answer time, as replies are not streamed",
}


_NOT_THE_SHARE = {"users_differ", "contradicts_higher_level"}
"""Reasons that more replies of the same share would not remove."""


@dataclass(frozen=True)
class Context:
    """What the sentence needs besides the estimate."""

    first_limit: str | None
    """the dimension that limits first; None where no single one does"""
    needed_share: float
    """of a person's replies that must be served"""
    findings: Sequence[Finding]
    bounds: Sequence[str]
    """rules of the diagnosis that hold"""
    why_no_level: str
    next_measurement: NextMeasurement | None
    unjudged: Sequence[int] = ()
    """numbers of users that are not judged because of others' load"""
    first_kind: str = ""
    """the kind of user that falls short first, where there are several"""
    by_kind: str = ""
    """what is proven of each kind of user, where that differs"""
    unmeasured_kinds: Sequence[str] = ()
    pause: float | None = None
    """mean seconds between a reply and the next request; None of users who ask again at once"""
    who: Who = "people"
    fine_in_short_visits: Sequence[int] = ()
    """numbers of users at which replies did well so far when a search went on"""


def answer(estimate: CapacityEstimate, context: Context) -> Answer:
    """Return the whole answer. Whatever makes the run invalid, or the number doubtful, is said first."""
    said = [_doubts(estimate, context.unjudged), *_narrowed(context.findings), without(context.unmeasured_kinds)]
    if estimate.served_users is not None and (altered := altered_replies(context.bounds)):
        said.insert(0, f"With replies {altered}")
    caveats = tuple(filter(None, said))
    first, rest = _clauses(estimate, context, ";" if caveats else ":")
    rest += [context.by_kind] if context.by_kind else []
    return Answer(
        _invalid(context.findings),
        caveats,
        first.before,
        first.number,
        first.after,
        first.interval,
        " ".join(rest),
    )


def _invalid(findings: Sequence[Finding]) -> str:
    """Return why the measurement is invalid, and what helps where the server's own words say it; empty if it is not."""
    invalid = [finding for finding in findings if finding.makes_invalid]
    first = next((finding for finding in invalid if finding.check in _NOT_THE_LOAD), *invalid[:1]) if invalid else None
    if first is None:
        return ""
    why = first.why.rstrip(".")
    return f"{why}. {first.advice.rstrip('.')}" if first.check in _NOT_THE_LOAD else why


def _narrowed(findings: Sequence[Finding]) -> list[str]:
    """Return what the answer does not cover, because of how replies arrived, or because the server was gone."""
    failed = {finding.check for finding in findings if finding.state == "fail"}
    return [words for check, words in _NARROWED_BY.items() if check in failed]


def altered_replies(bounds: Sequence[str]) -> str:
    """Return how replies differ from what the model would say, by the rules that hold; empty if they do not."""
    return listed([words for rule, words in _NOT_THE_MODEL.items() if rule in bounds])


def _clauses(estimate: CapacityEstimate, context: Context, mark: str) -> tuple[Phrase, list[str]]:
    """Return the first clause, and the sentences that follow it. `mark`: as there is a colon after caveats already."""
    if not estimate.levels:
        unanswered = any(finding.makes_invalid and finding.check in _NOT_THE_LOAD for finding in context.findings)
        return Phrase("nothing was measured" if unanswered else f"No answer: {context.why_no_level}"), []
    proven = proven_phrase(estimate, context.pause, context.who)
    if proven is None:
        return _nothing_held(estimate, context, mark)
    if estimate.bracket[0] is None:
        return proven, [*_limit(estimate, context), *_groups(estimate, context.needed_share)]
    return proven, [*_limit(estimate, context), *_rest(estimate, context)]


def _doubts(estimate: CapacityEstimate, unjudged: Sequence[int] = ()) -> str:
    """Return what load does not explain, for the start of the answer; empty without."""
    failed = estimate.bracket[1]
    worse, disturbed = (
        [users for users in of if failed is None or users <= failed]
        for of in (estimate.contradictions, estimate.disturbed)
    )
    said = []
    if unjudged and estimate.levels:
        said.append(f"others used the server at {_users(unjudged)}, which {is_or_are(len(unjudged))} not judged")
    if estimate.drift:
        said.append(f"the server changed during the run (visits to {_users(estimate.drift)} differ)")
    if worse:
        more = "higher rates" if isinstance(worse[0], Rate) else "more"
        said.append(f"service at {_users(worse)} was worse than at {more}, which load does not explain")
    if disturbed:
        said.append(f"one bad stretch at {_users(disturbed)} may be another client's load")
    return capitalised("; ".join(said))


def _limit(estimate: CapacityEstimate, context: Context) -> list[str]:
    if estimate.bracket[1] is None:
        return []
    return [limit_sentence(context.first_limit, context.first_kind)]


def _rest(estimate: CapacityEstimate, context: Context) -> list[str]:
    """Say what was measured and is not proven, what was not measured, and who is served worse."""
    held, failed = estimate.bracket
    between = [
        level
        for level in estimate.levels
        if level.state == "unproven" and level.users > (held or 0) and (failed is None or level.users < failed)
    ]
    if failed is None:
        more = _would_tell(context.next_measurement, [level.users for level in between])
        said = f"{_open(between)}{more}." if between else f"{_more(held)} were not tried{_for_gate(context)}."
    elif estimate.placed_by_curve:
        said = f"{held:,} holds, {failed:,} fails{', ' if between else ''}{_open(between)}."
    elif between:
        said = f"{_open(between)}."
    else:
        said = "The range between was not measured." if failed - (held or 0) > 1 else ""
    if failed is not None and context.next_measurement is not None and context.next_measurement.still_needed:
        said = f"{said} The search needed about {context.next_measurement.still_needed} to be precise.".lstrip()
    return [*([said] if said else []), *_groups(estimate, context.needed_share)]


def _nothing_held(estimate: CapacityEstimate, context: Context, mark: str) -> tuple[Phrase, list[str]]:
    """Say what the data suggest where no level is proven to hold, what is proven to be too many, and who is worse off.

    Nothing is suggested where even the lowest level fails, or where a bad stretch leaves nothing to go by.
    """
    failed, limit = estimate.bracket[1], _limit(estimate, context)
    groups = _groups(estimate, context.needed_share)
    nothing_to_go_by = bool(_to_revisit(estimate)) and not (estimate.suggestion and estimate.suggestion.users)
    lowest = failed == estimate.levels[0].users
    if failed is not None and (lowest or nothing_to_go_by):
        first = Phrase(capitalised(too_many(failed, first=True, pause=context.pause, who=context.who)))
        return first, [*limit, _not_tried(failed, context) if lowest else f"{_revisit(estimate, context)}.", *groups]
    if nothing_to_go_by:
        return Phrase(_revisit(estimate, context, mark)), groups
    first, rest = _suggested_first(estimate, context, mark)
    many = [] if failed is None else [f"{too_many(failed)}."]
    return first, [*many, *limit, *_seen_in_passing(estimate, context), *rest, *groups]


def _not_tried(failed: int, context: Context) -> str:
    fewer = "Lower rates" if isinstance(failed, Rate) else "Fewer"
    return f"{fewer} were not tried{_would_tell(context.next_measurement)}."


def _suggested_first(estimate: CapacityEstimate, context: Context, mark: str) -> tuple[Phrase, list[str]]:
    """Return what the data suggest; that no reasonable time settles it is a sentence of its own, the last."""
    said, more = f"{suggested_phrase(estimate, context.pause, context.who)}, not proven", context.next_measurement
    guess, named = estimate.suggestion.users if estimate.suggestion else 0, named_suggestion(estimate)
    interval = interval_text((named.low, named.high)) if named else ""
    open_levels = [guess] if guess else []
    if hopeless := _hopeless(estimate.level(guess if more is None or more.required is None else more.required)):
        return Phrase(said, interval=interval), [f"{hopeless}{_would_tell(more, open_levels, ';')}."]
    return Phrase(f"{said}{_would_tell(more, open_levels, mark)}", interval=interval), []


def _hopeless(level: LevelEstimate | None) -> str:
    """Say that no reasonable time settles a level at the share served so far; empty where one may."""
    if level is None or not is_too_close(level) or _NOT_THE_SHARE & {*level.reasons}:
        return ""
    return f"At the share served so far, an hour at {things(level.users, 'user')} would not settle it"


def _seen_in_passing(estimate: CapacityEstimate, context: Context) -> list[str]:
    """Say that a search found more users fine than it measured; empty where it measured as many."""
    failed = estimate.bracket[1]
    below = [users for users in context.fine_in_short_visits if failed is None or users < failed]
    measured = [level.users for level in estimate.levels if failed is None or level.users < failed]
    if not below or below[-1] <= max(measured, default=0):
        return []
    those = f"{people(below[-1], context.who)} {was_or_were(below[-1])}"
    return [f"In a short visit, {those} served well so far, which proves nothing."]


def _revisit(estimate: CapacityEstimate, context: Context, mark: str = ":") -> str:
    revisit = _to_revisit(estimate)
    return f"{_users(revisit)} {is_or_are(len(revisit))} not proven{_would_tell(context.next_measurement, mark=mark)}"


def _to_revisit(estimate: CapacityEstimate) -> list[int]:
    return [level.users for level in estimate.levels if REVISIT & {*level.reasons}]


def _open(levels: Sequence[LevelEstimate]) -> str:
    """Return `12 and 16 are too close to call, 20 has too few replies to tell`."""
    revisit = [level.users for level in levels if REVISIT & {*level.reasons}]
    few = [one.users for one in levels if one.reasons[:1] == ("too_few_replies",) or one.served_share == 1]
    close = [level.users for level in levels if level.users not in {*revisit, *few}]
    kinds = [
        (close, "is too close to call", "are too close to call"),
        (few, "has too few replies to tell", "have too few replies to tell"),
        (revisit, "needs a second visit", "need a second visit"),
    ]
    return ", ".join(f"{_users(users)} {one if len(users) == 1 else many}" for users, one, many in kinds if users)


def _more(load: int | None) -> str:
    return "Higher rates" if isinstance(load, Rate) else "More"


def _would_tell(measurement: NextMeasurement | None, asked: Collection[int] = (), mark: str = ":") -> str:
    """Return `: a run of about 2 minutes at 16 users would settle it`, and the like.

    `asked`: the levels that are open, all of which must be settled for that; `mark`: what stands before a run.
    """
    if measurement is None:
        return ""
    if measurement.still_needed:
        return f"; the search needed about {measurement.still_needed}"
    if not measurement.levels:
        return f"; {measurement.which_search} would show more"
    wanted = asked if measurement.required is None else [measurement.required]
    minutes, at = things(measurement.minutes, "minute"), levels_named(measurement.levels, 8)
    return f"{mark} a run of about {minutes} at {at} {_helps(measurement, wanted)}"


def _helps(measurement: NextMeasurement, asked: Collection[int]) -> str:
    """Return `would settle it`, or less where the run would not settle all that was asked."""
    required = measurement.required
    settled = sorted({*asked} & {*measurement.settles}) if asked else measurement.settles
    if not settled and required is not None:
        return f"would prove {required:,} if nearly all replies are served there"
    if not settled:
        return "would show more"
    return "would settle it" if len(settled) >= len(asked) else f"would settle {_users(settled)}"


def _for_gate(context: Context) -> str:
    """Return `: a run of about 4 minutes at 8 and 16 users would prove 16 if …`; empty without a gate that is open."""
    measurement = context.next_measurement
    return "" if measurement is None or measurement.required is None else _would_tell(measurement)


def _groups(estimate: CapacityEstimate, needed_share: float) -> list[str]:
    """Return `4 of 16 users get 71 % of their replies served, the others 98 %; for the others about 20 (18 to 22).`"""
    groups = estimate.groups
    level = estimate.level(groups.users) if groups else None
    worse = level.worse_group if level else None
    if groups is None or level is None or worse is None or worse.others_share < needed_share:
        return []
    get = "gets" if worse.users == 1 else "get"
    who = f"{'about ' if level.visits > 1 else ''}{worse.users:,} of {things(level.users, 'user')}"
    share, others = (percent(round(one, 3)) for one in (worse.share, worse.others_share))
    said = f"{capitalised(who)} {get} {share} of their replies served"
    shared = f"; {shared_in_words(groups.shared, worse.users)}" if groups.shared else ""
    return [f"{said}, the others {others}{shared}{_capacity_of_others(groups)}."]


def _capacity_of_others(groups: GroupCapacity) -> str:
    interval = groups.others_interval
    if interval is None or not interval[0]:
        return ""
    if groups.others is not None:
        return f"; for the others about {int(groups.others):,} ({interval_text(interval)})"
    return f"; for the others {interval_text(interval) if interval[1] else f'at least {interval[0]:,}'}"


def _users(users: Sequence[int]) -> str:
    return listed([f"{number:,}" for number in users], most=8)
