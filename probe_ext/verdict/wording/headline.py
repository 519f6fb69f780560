"""The answer in plain sentences, for a reader who has never seen the tool. Every output takes it from here."""

from collections.abc import Sequence
from dataclasses import dataclass

from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, GroupCapacity, LevelEstimate
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.formats import percent
from probe_ext.verdict.values.json_types import Interval
from probe_ext.verdict.values.plurals import are_or_is, capitalised, cause, listed, people, things
from probe_ext.verdict.wording.next_run import REVISIT, NextMeasurement

_NOT_THE_MODEL = {"response_cache": "from a response cache", "cut_answers": "cut short"}
"""Rules of the diagnosis under which the replies are not what the model would say."""


@dataclass(frozen=True)
class Context:
    """What the sentence needs besides the estimate."""

    first_limit: str | None
    """the dimension that limits first; None: unknown"""
    findings: Sequence[Finding]
    bounds: Sequence[str]
    """rules of the diagnosis that hold"""
    why_no_level: str
    next_measurement: NextMeasurement | None


def headline(estimate: CapacityEstimate, context: Context) -> str:
    """Return the whole answer. Whatever makes the run invalid, or the number doubtful, is said first."""
    answer = " ".join(_sentences(estimate, context))
    caveats = [_doubts(estimate)]
    if estimate.served_users is not None and (altered := altered_replies(context.bounds)):
        caveats.insert(0, f"With replies {altered}")
    for caveat in filter(None, reversed(caveats)):
        answer = f"{caveat}: {answer[:1].lower()}{answer[1:]}"
    invalid = [finding for finding in context.findings if finding.makes_invalid]
    if not invalid:
        return answer
    return f"Invalid measurement: {invalid[0].why.rstrip('.')}. Reported result: {answer}"


def altered_replies(bounds: Sequence[str]) -> str:
    """Return how replies differ from what the model would say, by the rules that hold; empty if they do not."""
    return listed([words for rule, words in _NOT_THE_MODEL.items() if rule in bounds])


def interval_text(interval: Interval) -> str:
    """Return `43 to 46`, `32 or more`, `8`."""
    low, high = interval
    if high is None:
        return f"{low:,} or more"
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _sentences(estimate: CapacityEstimate, context: Context) -> list[str]:
    if not estimate.levels:
        return [f"No answer: {context.why_no_level}."]
    held, failed = estimate.bracket
    if held is not None:
        return [_capacity(estimate, held, failed), *_limit(estimate, context), *_rest(estimate, context)]
    if failed == 1:
        return ["Not even 1 person is served.", *_limit(estimate, context), *_groups(estimate)]
    return _nothing_held(estimate, context)


def _doubts(estimate: CapacityEstimate) -> str:
    """Return what load does not explain, for the start of the answer; empty without."""
    said = []
    if estimate.drift:
        said.append(f"the server changed during the run (visits to {_users(estimate.drift)} differ)")
    if estimate.contradictions:
        said.append(f"service at {_users(estimate.contradictions)} was worse than at more, which load does not explain")
    if estimate.disturbed:
        said.append(f"one bad stretch at {_users(estimate.disturbed)} may be another client's load")
    return capitalised("; ".join(said))


def _capacity(estimate: CapacityEstimate, held: int, failed: int | None) -> str:
    served = estimate.served_users or held
    interval = estimate.interval
    if estimate.placed_by_curve and interval is not None and interval[0] != interval[1]:
        return f"About {people(served)} can use this at once (95 %: {interval_text(interval)})."
    if failed is None:
        return f"At least {people(served)} can use this at once."
    least = people(served) if failed == served + 1 else f"at least {people(served)}"
    return f"{capitalised(least)} can use this at once; {_too_many(failed)}."


def _limit(estimate: CapacityEstimate, context: Context) -> list[str]:
    if estimate.bracket[1] is None:
        return []
    return [f"{capitalised(cause(context.first_limit))} {are_or_is(context.first_limit)} the first limit."]


def _rest(estimate: CapacityEstimate, context: Context) -> list[str]:
    """Say what was measured and is not proven, what was not measured, and who is served worse."""
    held, failed = estimate.bracket
    between = [
        level
        for level in estimate.levels
        if level.state == "unproven" and level.users > (held or 0) and (failed is None or level.users < failed)
    ]
    if failed is None:
        said = f"{_open(between)}{_would_tell(context.next_measurement)}." if between else "More were not tried."
    elif estimate.placed_by_curve:
        said = f"{held:,} holds, {failed:,} fails{', ' if between else ''}{_open(between)}."
    elif between:
        said = f"{_open(between)}."
    else:
        said = "The range between was not measured." if failed - (held or 0) > 1 else ""
    return [*([said] if said else []), *_groups(estimate)]


def _nothing_held(estimate: CapacityEstimate, context: Context) -> list[str]:
    """Say what the data suggest where no level is proven to hold."""
    failed, more = estimate.bracket[1], _would_tell(context.next_measurement)
    lowest = estimate.levels[0].users
    said = [] if failed is None else [f"{capitalised(_too_many(failed, first=True))}.", *_limit(estimate, context)]
    if failed == lowest:
        return [*said, f"Fewer were not tried{more}.", *_groups(estimate)]
    groups = _groups(estimate)
    if groups:
        return [*said, f"Nothing is proven, as users are not served alike: {groups[0]}"]
    revisit = [level.users for level in estimate.levels if REVISIT & {*level.reasons}]
    if revisit:
        return [*said, f"{_users(revisit)} {'is' if len(revisit) == 1 else 'are'} not proven{more}."]
    return [*said, f"{_probably(estimate)}, not proven{more}."]


def _probably(estimate: CapacityEstimate) -> str:
    guess = estimate.suggestion
    if guess is None or not guess.users:
        lowest = estimate.levels[0].users
        return f"Probably fewer than {people(lowest)}" if lowest > 1 else "Probably not even 1 person"
    if guess.high is None:
        return f"Probably at least {people(guess.users)}"
    return f"Probably about {people(guess.users)} ({interval_text((guess.low, guess.high))})"


def _open(levels: Sequence[LevelEstimate]) -> str:
    """Return `12 and 16 are too close to call`."""
    if not levels:
        return ""
    few = all(level.reasons[:1] == ("too_few_replies",) for level in levels)
    have, are = ("has", "is") if len(levels) == 1 else ("have", "are")
    what = f"{have} too few replies to tell" if few else f"{are} too close to call"
    return f"{_users([level.users for level in levels])} {what}"


def _would_tell(measurement: NextMeasurement | None) -> str:
    """Return `: about 2 more minutes at 16 would tell`."""
    if measurement is None:
        return ""
    if not measurement.levels:
        return "; a search would tell more"
    return f": about {things(measurement.minutes, 'more minute')} at {_users(measurement.levels)} would tell"


def _groups(estimate: CapacityEstimate) -> list[str]:
    """Return `4 of 16 users get 71 % of their replies served, the others 98 %; for the others about 20 (18 to 22).`"""
    groups = estimate.groups
    compared = [level for level in estimate.levels if level.worse_group is not None]
    if groups is None or not compared:
        return []
    fine = [level for level in compared if level.state != "failed"]
    level = (fine or compared)[-1]
    worse = level.worse_group
    if worse is None:
        return []
    get = "gets" if worse.users == 1 else "get"
    their = f"{worse.users:,} of {things(level.users, 'user')} {get} {percent(worse.share)} of their replies served"
    return [f"{their}, the others {percent(worse.others_share)}{_capacity_of_others(groups)}."]


def _capacity_of_others(groups: GroupCapacity) -> str:
    interval = groups.others_interval
    if interval is None or not interval[0]:
        return ""
    if groups.others is not None:
        return f"; for the others about {int(groups.others):,} ({interval_text(interval)})"
    return f"; for the others {interval_text(interval) if interval[1] else f'at least {interval[0]:,}'}"


def _too_many(failed: int, *, first: bool = False) -> str:
    """Return `16 are too many`, `16 people at once are too many`."""
    return f"{people(failed)} at once are too many" if first else f"{failed:,} are too many"


def _users(users: Sequence[int]) -> str:
    return listed([f"{number:,}" for number in users])
