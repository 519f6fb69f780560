"""From people at once to a team whose members read and think between two questions, and what they cost.

A person who waits R seconds on each reply and pauses Z seconds before the next question has a reply in flight for the
share p = R ÷ (R + Z) of the time (J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9,
1961). With L replies in flight at the capacity, L ÷ p people would fit on average, which is too many: what is in flight
swings around its mean and exceeds L half of the time. So the size is a cautious range, with at most L in flight 99 %
and 95 % of the time by the binomial distribution. It starts from the largest number of users proven to be served, and
assumes that replies take as long as in the run and that people ask independently. Only a run with pauses measures it:
`with_command` names one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.rate import Rate
from probe_ext.verdict.evidence.columns import Bools, Floats, is_any, numbers
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.phrasing.formats import seconds
from probe_ext.verdict.phrasing.plurals import people, who_pause
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.sizing_types import Cost, Team, ThinkTime

CALM_SHARES = (0.99, 0.95)
"""Of the time, with no more replies in flight than at the proven capacity."""
BETWEEN_REPLIES = 0.02
"""Of the time in flight, which users who ask again at once spend between two replies: 2 of them are 1.99 in flight."""
MAX_PEOPLE = 1_000_000_000


@dataclass(frozen=True)
class Given:
    """What only the reader of a report knows; None where not given."""

    think_time: float | None = None
    """seconds between a reply's end and the next question"""
    price_per_hour: float | None = None
    """of the server, in any currency"""
    window: float | None = None
    """seconds of the rolling window that a long run is shown through"""


@dataclass(frozen=True)
class AtCapacity:
    """What was measured at the proven capacity, all visits together."""

    users: int
    in_flight: float
    """replies, on average over time"""
    reply: float
    """mean seconds from asking to the end of a complete reply"""
    tokens_per_s: float | None


def at_capacity(
    evidence: Evidence, asked: Floats, levels: Sequence[LevelResult], served_users: int | None
) -> AtCapacity | None:
    """Summarise the visits of the proven capacity; None where nothing is proven, or no reply was complete.

    `asked`: when the user wanted each reply, seconds of the run.
    """
    held = [level for level in levels if level.users == served_users and level.state == "held"]
    if not held or not served_users:
        return None
    end = numbers(evidence.replies, "end")
    whole = is_any(evidence.replies, "outcome", {Outcome.COMPLETE})
    inside: Bools = np.zeros(len(end), dtype=np.bool_)
    busy = lasted = tokens = counted = 0.0
    for level in held:
        inside |= (asked >= level.t_start) & (asked <= level.t_end)
        overlap = np.minimum(end, level.t_end) - np.maximum(asked, level.t_start)
        busy += float(np.nansum(np.clip(overlap, 0.0, None)))
        length = level.t_end - level.t_start
        lasted += length
        if level.total_tokens_per_s is not None:
            tokens += level.total_tokens_per_s * length
            counted += length
    took = (end - asked)[inside & whole]
    took = took[~np.isnan(took)]
    if not len(took) or lasted <= 0 or took.mean() <= 0:
        return None
    return AtCapacity(served_users, busy / lasted, float(took.mean()), tokens / counted if counted else None)


def team(at: AtCapacity | None, think_time: float | None) -> Team | None:
    """Return the team size that a proven capacity is enough for; None without a think time or a proven capacity."""
    if at is None or think_time is None or at.in_flight <= 0:
        return None
    share = at.reply / (at.reply + think_time)
    at_once = max(1, math.floor(min(at.users, at.in_flight * (1 + BETWEEN_REPLIES))))
    low, high = (largest_team(at_once, share, calm) for calm in CALM_SHARES)
    return Team(
        think_time=think_time,
        reply_seconds=at.reply,
        in_flight=at.in_flight,
        waiting_share=share,
        people_low=low,
        people_high=high,
        sentence=f"{_size_of_team(low, high, think_time, at)}; only a run with users who pause would prove it.",
    )


def with_command(of: Team, at: AtCapacity, command: str | None) -> Team:
    """Return the team with the command that would prove it, which its sentence then ends in."""
    if command is None:
        return of
    size = _size_of_team(of.people_low, of.people_high, of.think_time, at)
    return replace(of, command=command, sentence=f"{size}; a run with users who pause would prove it: `{command}`")


def _size_of_team(low: int, high: int, think_time: float, at: AtCapacity) -> str:
    size = people(low) if low == high else f"{low:,} to {people(high)}"
    return (
        f"A team of about {size} who pause {seconds(think_time)} on average between a reply and the next question. "
        f"This is computed from {people(at.users)} at once"
    )


def largest_team(in_flight: int, share: float, calm: float) -> int:
    """Return the largest team of whom at most `in_flight` have a reply in flight for the part `calm` of the time."""
    low, high = in_flight, in_flight + 1
    while high < MAX_PEOPLE and at_most(in_flight, high, share) >= calm:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at_most(in_flight, middle, share) >= calm else (low, middle)
    return low


def at_most(k: int, n: int, share: float) -> float:
    """Return the probability that at most k of n people are busy, each for this share of the time (binomial)."""
    if k >= n:
        return 1.0
    if share >= 1:
        return 0.0
    i = np.arange(k + 1)
    ways = math.lgamma(n + 1) - np.array([math.lgamma(x + 1) + math.lgamma(n - x + 1) for x in i.tolist()])
    return float(np.exp(ways + i * math.log(share) + (n - i) * math.log1p(-share)).sum())


def cost(
    at: AtCapacity | None, of: Team | None, price_per_hour: float | None, paused: ThinkTime | None = None
) -> Cost | None:
    """Return what an hour's price comes to; None without a price or a proven capacity."""
    if at is None or price_per_hour is None:
        return None
    speed = at.tokens_per_s or None
    per_million = price_per_hour / (3600 * speed) * 1e6 if speed else None
    per_user = None if isinstance(at.users, Rate) else price_per_hour / at.users
    per_thousand = 1000 * price_per_hour / (3600 * at.users.per_second) if isinstance(at.users, Rate) else None
    whom = "that person" if at.users == 1 else "each of them"
    said = [f"an hour costs {money(per_user)} for {whom}"] if per_user is not None else []
    said += [f"{money(per_thousand)} for a thousand requests"] if per_thousand is not None else []
    if of is not None and of.people_low:
        said.append(f"{money(price_per_hour / of.people_low)} for each member of the team")
    if per_million is not None:
        said.append(f"{money(per_million)} for a million tokens of answers")
    return Cost(
        price_per_hour=price_per_hour,
        per_user_hour=per_user,
        per_thousand_requests=per_thousand,
        per_person_hour=price_per_hour / of.people_low if of is not None and of.people_low else None,
        per_million_tokens=per_million,
        per_token_per_s=price_per_hour / speed if speed else None,
        sentence=f"At {money(price_per_hour)} an hour, with {_busy_with(at.users, paused)} all the time: "
        f"{'; '.join(said)}.",
    )


def _busy_with(users: int, paused: ThinkTime | None) -> str:
    if isinstance(users, Rate):
        return people(users)
    return f"{people(users)} at once" if paused is None else f"{people(users)}{who_pause(users, paused.mean)},"


def money(value: float) -> str:
    """Format an amount: `2.50`, `0.0042`, `1,200`; two decimals, or as many as show two digits."""
    if value >= 1000 or value == 0:
        return f"{value:,.0f}"
    places = max(2, 1 - math.floor(math.log10(value)))
    return f"{value:.{places}f}"
