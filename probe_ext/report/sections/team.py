"""How many people a capacity is enough for, and what an hour's price comes to, as figures with their terms."""

from collections.abc import Callable, Mapping
from typing import Any

from probe_ext.verdict.results.team_size import money
from probe_ext.verdict.values import formats

_TEAM: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("think_time", "to read and think, as given", formats.span),
    ("reply_seconds", "a reply takes (mean)", formats.seconds),
    ("waiting_share", "of a person's time goes to replies", formats.percent),
    ("in_flight", "replies in flight (mean)", formats.decimals),
    ("people", "people, as many in flight on average", formats.count),
    ("people_19_of_20", "people, no more in flight in 19 of 20 moments", formats.count),
)
_COST: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("price_per_hour", "an hour of the server, as given", money),
    ("per_user_hour", "an hour of a person served at once", money),
    ("per_person_hour", "an hour of a member of the team", money),
    ("per_million_tokens", "a million tokens of answers", money),
    ("per_token_per_s", "an hour of each token/s", money),
)


def team_facts(capacity: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Term, name and figure of each; nothing where nothing was given or proven."""
    found = []
    for key, figures in (("team", _TEAM), ("cost", _COST)):
        said = capacity[key] or {}
        found += [(key, name, say(said[figure])) for figure, name, say in figures if said.get(figure) is not None]
        if key == "team" and said:
            found.append((key, "people, by the capacity's interval", _between(said)))
    return found


def _between(team: Mapping[str, Any]) -> str:
    low, high = team["people_low"], team["people_high"]
    return f"{formats.count(low)} or more" if high is None else f"{formats.count(low)} to {formats.count(high)}"
