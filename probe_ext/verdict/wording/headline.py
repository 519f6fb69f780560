"""The answer in plain sentences, for a reader who has never seen the tool. Every output takes it from here."""

from collections.abc import Sequence
from dataclasses import dataclass

from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, GroupCapacity
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.json_types import Interval
from probe_ext.verdict.values.plurals import capitalised, cause, listed, people, things
from probe_ext.verdict.wording.next_run import NextMeasurement

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
    """Return the whole answer. Whatever makes the run invalid is said first."""
    answer = " ".join(_sentences(estimate, context))
    answer = _with_caveat(answer, context.bounds) if estimate.served_users is not None else answer
    invalid = [finding for finding in context.findings if finding.makes_invalid]
    if not invalid:
        return answer
    return f"Invalid measurement: {invalid[0].why.rstrip('.')}. Reported result: {answer}"


def altered_replies(bounds: Sequence[str]) -> str:
    """Return how replies differ from what the model would say, by the rules that hold; empty if they do not."""
    return listed([words for rule, words in _NOT_THE_MODEL.items() if rule in bounds])


def interval_text(interval: Interval) -> str:
    """`43 to 46`, `32 or more`, `8`."""
    low, high = interval
    if high is None:
        return f"{low:,} or more"
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _with_caveat(answer: str, bounds: Sequence[str]) -> str:
    what = altered_replies(bounds)
    return f"With replies {what}: {answer[:1].lower()}{answer[1:]}" if what else answer


def _sentences(estimate: CapacityEstimate, context: Context) -> list[str]:
    if not estimate.levels:
        return [f"No answer: {context.why_no_level}."]
    held, failed = estimate.bracket
    if estimate.served_users == 0:
        return [f"Not even 1 person is served: {cause(context.first_limit)} is the first limit."]
    if held is None:
        said = [] if failed is None else [f"{capitalised(people(failed))} at once are too many."]
        return [*said, _suggestion(estimate, context), *_groups(estimate.groups)]
    limit = [f"{capitalised(cause(context.first_limit))} is the first limit."] if context.first_limit and failed else []
    return [
        _capacity(estimate, held, failed),
        *limit,
        *_open_levels(estimate, context, held, failed),
        *_groups(estimate.groups),
    ]


def _capacity(estimate: CapacityEstimate, held: int, failed: int | None) -> str:
    served = estimate.served_users or held
    if estimate.placed_by_curve and estimate.interval is not None:
        return f"About {people(served)} can use this at once (95 %: {interval_text(estimate.interval)})."
    if failed is None:
        return f"At least {people(served)} can use this at once."
    if failed == served + 1:
        return f"{capitalised(people(served))} can use this at once; {failed:,} are too many."
    return f"At least {people(served)} can use this at once; {failed:,} are too many."


def _open_levels(estimate: CapacityEstimate, context: Context, held: int, failed: int | None) -> list[str]:
    """What was measured and is not proven, and what was not measured."""
    unproven = [
        level.users
        for level in estimate.levels
        if level.state == "unproven" and level.users > held and (failed is None or level.users < failed)
    ]
    if failed is None:
        return [_above(context, unproven)]
    if estimate.placed_by_curve:
        close = f", {_are(unproven)} too close to call" if unproven else ""
        return [f"{held:,} holds, {failed:,} fails{close}."]
    if unproven:
        return [f"{_are(unproven)} too close to call."]
    return ["The range between was not measured."] if failed - held > 1 else []


def _above(context: Context, unproven: Sequence[int]) -> str:
    if not unproven:
        return "More were not tried."
    return f"{_are(unproven)} not proven{_minutes(context.next_measurement)}."


def _suggestion(estimate: CapacityEstimate, context: Context) -> str:
    """What the data suggest where nothing is proven to hold."""
    guess, more = estimate.suggestion, _minutes(context.next_measurement)
    if guess is None:
        return f"Nothing is proven{more}."
    if not guess.users:
        return f"Probably fewer than {people(estimate.levels[0].users)}, not proven{more}."
    span = interval_text((guess.low, guess.high))
    return f"Probably about {people(guess.users)} ({span}), not proven{more}."


def _minutes(measurement: NextMeasurement | None) -> str:
    """Return `: about 2 more minutes at 16 would tell`."""
    if measurement is None:
        return ""
    users = listed([f"{users:,}" for users in measurement.levels])
    return f": about {things(measurement.minutes, 'more minute')} at {users} would tell"


def _groups(groups: GroupCapacity | None) -> list[str]:
    if groups is None:
        return []
    return [
        f"Users are not served alike: {groups.worse_users:,} of {groups.users:,} get worse service than the others."
    ]


def _are(users: Sequence[int]) -> str:
    return f"{listed([f'{number:,}' for number in users])} {'is' if len(users) == 1 else 'are'}"
