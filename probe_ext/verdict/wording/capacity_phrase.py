"""How many people can use a server, in a few words: the same for the report's sentence and the live page.

Of an open stream, how many requests per second are served; nothing is said of people.
"""

from collections.abc import Collection
from dataclasses import dataclass

from probe_ext.measure.rate import Rate
from probe_ext.verdict.phrasing.plurals import Who, is_one, is_or_are, one_of, people, who_pause
from probe_ext.verdict.values.capacity_estimate import CapacityEstimate, Suggestion
from probe_ext.verdict.values.json_types import Interval, Load

_FAR_APART = 4
"""ratio of two neighbouring levels between which nothing was measured that would place the capacity"""


@dataclass(frozen=True)
class Phrase:
    """A clause without its full stop, in parts: a page emphasises the number."""

    before: str
    number: str = ""
    after: str = ""
    interval: str = ""
    """limits that stand in brackets; empty if they say no more than the clause"""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.before, self.number, self.after, self.limits)))

    @property
    def limits(self) -> str:
        """The interval in its brackets; empty without one."""
        return f"(95 %: {self.interval})" if self.interval else ""


def proven_phrase(estimate: CapacityEstimate, pause: float | None = None, who: Who = "people") -> Phrase | None:
    """Return `About 44 people can use this at once (95 %: 43 to 46)` and the like; None where nothing is proven.

    `pause`: mean seconds between a reply and the next request of users who do not ask again at once. Of agents, whose
    tools take that time, it is not said: `About 12 agents can work at once`.
    """
    (held, failed), interval = estimate.bracket, estimate.interval
    if held is None:
        return Phrase("Not even", "1", f"{one_of(who)} is served") if failed == 1 else None
    served = estimate.served_users or held
    number, after = f"{served:,}", _can(served, pause, who)
    if isinstance(served, Rate):
        after = f"{requests(served)} served"
    if estimate.placed_by_curve and interval is not None and interval[0] != interval[1]:
        return Phrase("About", number, after, interval_text(interval))
    if failed is None:
        return Phrase("At least", number, after)
    return Phrase("" if failed == served + 1 else "At least", number, f"{after}; {too_many(failed)}")


def _can(n: int, pause: float | None, who: Who) -> str:
    """Return `people who pause 30 s on average can use this`, and the like."""
    named = one_of(who) if n == 1 else who
    if who == "agents":
        return f"{named} can work at once"
    return f"{named}{who_pause(n, pause)} can use this{' at once' if pause is None else ''}"


def suggested_phrase(estimate: CapacityEstimate, pause: float | None = None, who: Who = "people") -> Phrase:
    """Return what the data suggest where no level is proven to hold: `Probably about 12 people (8 to 16)`."""
    guess = estimate.suggestion

    def those(n: int) -> str:
        return f"{people(n, who)}{who_pause(n, None if who == 'agents' else pause)}"

    if guess is None or not guess.users:
        lowest = estimate.levels[0].users
        if isinstance(lowest, Rate):
            return Phrase(f"Probably less than {people(lowest)}")
        return Phrase(f"Probably fewer than {those(lowest)}" if lowest > 1 else f"Probably not even 1 {one_of(who)}")
    if guess.high is None:
        return Phrase(f"Probably at least {those(guess.users)}")
    if between := far_apart([level.users for level in estimate.levels], guess.users, (guess.low, guess.high)):
        low, above = between
        if isinstance(above, Rate):
            return Phrase(f"Probably at least {low:,} and less than {people(above)}")
        return Phrase(f"Probably between {low:,} and {those(above - 1)}")
    return Phrase(f"Probably about {those(guess.users)} (95 %: {interval_text((guess.low, guess.high))})")


def named_suggestion(estimate: CapacityEstimate) -> Suggestion | None:
    """Return the suggestion whose number `suggested_phrase` gives; None where that gives a range or none served."""
    guess = estimate.suggestion
    users = [level.users for level in estimate.levels]
    is_named = guess is not None and guess.users and not far_apart(users, guess.users, (guess.low, guess.high))
    return guess if is_named else None


def far_apart(users: Collection[Load], guess: Load, interval: Interval) -> tuple[Load, Load] | None:
    """Return the levels around the guess if a line between them is all that places it; None otherwise.

    Then the guess is no number to be named: the answer is the range between the levels. Without an upper limit it is
    the least that is served, which is named.
    """
    low, high = interval
    below = max((n for n in users if n <= guess), default=None)
    above = min((n for n in users if n > guess), default=None)
    if high is None or below is None or above is None or above <= _FAR_APART * below:
        return None
    return None if low > below or high + 1 < above else (below, above)


def interval_text(interval: Interval) -> str:
    """Return `43 to 46`, `32 or more`, `8`."""
    low, high = interval
    if high is None:
        return f"{low:,} or more"
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def requests(rate: Rate) -> str:
    """Return `request per second is`, `requests per second are`: what follows the number."""
    return "request per second is" if is_one(rate) else "requests per second are"


def too_many(failed: int, *, first: bool = False, pause: float | None = None, who: Who = "people") -> str:
    """Return `16 are too many`, `16 people at once are too many`, `16 requests per second are too many`."""
    if isinstance(failed, Rate):
        are = requests(failed) if first else is_or_are(failed)
        return f"{failed:,} {are} too many"
    how = " at once" if pause is None or who == "agents" else who_pause(failed, pause)
    return f"{people(failed, who)}{how} are too many" if first else f"{failed:,} are too many"
