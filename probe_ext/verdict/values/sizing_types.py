"""What a capacity is worth: goodput, team size, cost."""

from dataclasses import dataclass

from probe_ext.verdict.values.json_types import Amount, Count, Fraction, Load, Text


@dataclass(frozen=True)
class Goodput:
    """The highest goodput of the numbers of users at which enough requests are served: DistServe's goal (OSDI 2024)."""

    goal: Fraction
    """required SLO attainment"""
    users: Load
    """of the level, or its rate"""
    replies_per_s: Amount
    """served replies per second, all visits to that number of users together"""


@dataclass(frozen=True)
class Team:
    """Size of a team, whose members read and think between requests, that the capacity is enough for."""

    think_time: Amount
    """seconds, as given"""
    reply_seconds: Amount
    """mean seconds from request to the end of a complete reply, at the capacity"""
    in_flight: Amount
    """mean number of replies in flight at the capacity"""
    waiting_share: Fraction
    """share of a person's time spent waiting for or reading along with a reply"""
    people_low: Count
    """team size that keeps no more replies in flight for 99 % of the time"""
    people_high: Count
    """the same for 95 % of the time"""
    sentence: Text
    command: Text | None = None
    """the run of users who pause so that would prove both sizes; null where the run cannot be repeated so"""


@dataclass(frozen=True)
class ThinkTime:
    """How the users of the run paused between a reply and their next request."""

    mean: Amount
    """seconds, over all levels"""
    pauses: Count
    """that ended in a level"""
    reply_seconds: Amount
    """mean seconds from request to the end of a reply"""
    waiting_share: Fraction
    """share of a user's time spent on replies"""
    sentence: Text


@dataclass(frozen=True)
class Cost:
    """What the server costs at its capacity, in the currency of the given price."""

    price_per_hour: Amount
    """as given"""
    per_user_hour: Amount | None
    """per concurrent user served; null in a run with an open stream"""
    per_thousand_requests: Amount | None
    """of an open stream; null where users wait for replies"""
    per_person_hour: Amount | None
    """per member of the smaller team; null without a think time"""
    per_million_tokens: Amount | None
    """output tokens, all users together"""
    per_token_per_s: Amount | None
    """hourly price of each token per second"""
    sentence: Text
