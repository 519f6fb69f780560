"""From people at once to people: a team whose members read and think between two questions, and what they cost.

Little's law (J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9, 1961): as many replies
are in flight, on average, as start in a second times the seconds that each takes. A person who reads and thinks for Z
seconds between a reply's end and the next question, and waits R seconds on each reply, has one in flight for the part
p = R ÷ (R + Z) of the time. So the L replies that were in flight at the capacity are those of L ÷ p people.

Assumed is that replies take as long as in the run, that people ask independently of each other, and that there is a
proven capacity to start from. What is in flight swings around its mean: with that many people it is above L half of the
time. So a smaller team is given too, with at most L in flight in 19 of 20 moments, by the binomial distribution.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.verdict.values.columns import Bools, Floats, numbers, texts
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.formats import seconds
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.plurals import people
from probe_ext.verdict.values.sizing_types import Cost, Team

MOMENTS = 0.95
"""of the time, no more in flight than at the capacity"""
BILLION = 1_000_000_000
"""people: no team is larger"""


@dataclass(frozen=True)
class Given:
    """What only the reader of a report knows; None: not given."""

    think_time: float | None = None
    """seconds between a reply's end and the next question"""
    price_per_hour: float | None = None
    """of the server, in any currency"""


@dataclass(frozen=True)
class AtCapacity:
    """What went on at the capacity, all its levels together."""

    users: int
    in_flight: float
    """replies, on average over time"""
    reply: float
    """seconds from asking to a whole reply's end, mean"""
    tokens_per_s: float | None


def at_capacity(
    evidence: Evidence, asked: Floats, levels: Sequence[LevelResult], served_users: int | None
) -> AtCapacity | None:
    """What the levels that held at the capacity show; None where there is none, or no whole reply.

    `asked` is when each reply was asked for, seconds of the run.
    """
    held = [level for level in levels if level.users == served_users and level.state == "held"]
    if not held or not served_users:
        return None
    end = numbers(evidence.replies, "end")
    whole = np.array([outcome == Outcome.COMPLETE for outcome in texts(evidence.replies, "outcome")], dtype=np.bool_)
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


def team(at: AtCapacity | None, interval: tuple[int, int | None] | None, think_time: float | None) -> Team | None:
    """How many people a capacity is enough for; None without a think time, or without a proven capacity."""
    if at is None or think_time is None or at.in_flight <= 0:
        return None
    share = at.reply / (at.reply + think_time)
    count = math.floor(at.in_flight / share + 1e-9)
    low, high = interval or (at.users, None)
    calm = always(round(at.in_flight), share)
    return Team(
        think_time=think_time,
        reply_seconds=at.reply,
        in_flight=at.in_flight,
        waiting_share=share,
        people=count,
        people_low=math.floor(at.in_flight / share * low / at.users + 1e-9),
        people_high=None if high is None else math.floor(at.in_flight / share * high / at.users + 1e-9),
        people_19_of_20=calm,
        sentence=(
            f"With {seconds(think_time)} to read and think between a reply and the next question, that is a team of "
            f"about {people(count)}, on average; of {calm:,}, if no more may ask at once in 19 of 20 moments."
        ),
    )


def always(in_flight: int, share: float) -> int:
    """The largest team of whom, in MOMENTS of the time, at most so many have a reply in flight."""
    low, high = in_flight, in_flight + 1
    while high < BILLION and at_most(in_flight, high, share) >= MOMENTS:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if at_most(in_flight, middle, share) >= MOMENTS else (low, middle)
    return low


def at_most(k: int, n: int, share: float) -> float:
    """The binomial distribution: how likely at most k of n people are busy, each for this share of the time."""
    if k >= n:
        return 1.0
    if share >= 1:
        return 0.0
    i = np.arange(k + 1)
    ways = math.lgamma(n + 1) - np.array([math.lgamma(x + 1) + math.lgamma(n - x + 1) for x in i.tolist()])
    return float(np.exp(ways + i * math.log(share) + (n - i) * math.log1p(-share)).sum())


def cost(at: AtCapacity | None, of: Team | None, price_per_hour: float | None) -> Cost | None:
    """What an hour's price comes to; None without a price, or without a proven capacity."""
    if at is None or price_per_hour is None:
        return None
    speed = at.tokens_per_s or None
    per_million = price_per_hour / (3600 * speed) * 1e6 if speed else None
    said = [f"{money(price_per_hour / at.users)} for each person served at once"]
    if of is not None and of.people:
        said.append(f"{money(price_per_hour / of.people)} for each member of the team")
    if per_million is not None:
        said.append(f"{money(per_million)} for a million tokens of answers")
    return Cost(
        price_per_hour=price_per_hour,
        per_user_hour=price_per_hour / at.users,
        per_person_hour=price_per_hour / of.people if of is not None and of.people else None,
        per_million_tokens=per_million,
        per_token_per_s=price_per_hour / speed if speed else None,
        sentence=f"At {money(price_per_hour)} an hour, kept busy at the capacity: an hour costs {said[0]}"
        + "".join(f"; {more}" for more in said[1:])
        + ".",
    )


def money(value: float) -> str:
    """`2.50`, `0.0042`, `1,200`: two decimals, or as many as show two digits."""
    if value >= 1000 or value == 0:
        return f"{value:,.0f}"
    places = max(2, 1 - math.floor(math.log10(value)))
    return f"{value:.{places}f}"
