"""Team size and cost, as figures with their terms."""

from collections.abc import Callable, Mapping
from typing import Any

from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.results.team_size import money

_TEAM: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("think_time", "to read and think (given)", formats.span),
    ("reply_seconds", "per reply (mean)", formats.seconds),
    ("waiting_share", "of a person's time spent on replies", formats.percent),
    ("in_flight", "replies in flight (mean)", formats.decimals),
    ("people_low", "people, within the capacity 99 % of the time", formats.count),
    ("people_high", "people, within the capacity 95 % of the time", formats.count),
)
_COST: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("price_per_hour", "per hour of the server (given)", money),
    ("per_user_hour", "per hour and concurrent user", money),
    ("per_thousand_requests", "per thousand requests", money),
    ("per_person_hour", "per hour and team member", money),
    ("per_million_tokens", "per million output tokens", money),
    ("per_token_per_s", "per hour and token/s", money),
)


def team_facts(capacity: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return term, label and figure of each; empty where nothing was given or proven."""
    facts = []
    for term, figures in (("team", _TEAM), ("cost", _COST)):
        values = capacity[term] or {}
        facts += [(term, label, text(values[key])) for key, label, text in figures if values.get(key) is not None]
    return facts
