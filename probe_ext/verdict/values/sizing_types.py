"""What a capacity is worth, as values: goodput, a team, its cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Goodput:
    """The highest rate of requests at which enough of them are served, as DistServe (OSDI 2024) defines goodput."""

    goal: float
    """SLO attainment that is asked for"""
    users: int
    replies_per_s: float
    """judged replies of that level, over its length"""


@dataclass(frozen=True)
class Team:
    """How many people a capacity is enough for, who read and think between two questions (see `team`)."""

    think_time: float
    """seconds, as it was given"""
    reply_seconds: float
    """from asking to a whole reply's end, mean at the capacity"""
    in_flight: float
    """replies at the capacity, mean over time"""
    waiting_share: float
    """of a person's time, spent on waiting for a reply and seeing it come"""
    people: int
    """so that as many are in flight on average"""
    people_low: int
    """by the capacity's interval"""
    people_high: int | None
    people_19_of_20: int
    """so that no more are in flight in 95 % of the time"""
    says: str


@dataclass(frozen=True)
class Cost:
    """What an hour's price comes to at the capacity; in the currency of the price."""

    price_per_hour: float
    """as it was given"""
    per_user_hour: float
    """for each person served at once"""
    per_person_hour: float | None
    """for each member of the team; None without a think time"""
    per_million_tokens: float | None
    """of answers, all users together"""
    per_token_per_s: float | None
    """price an hour of each token a second"""
    says: str
