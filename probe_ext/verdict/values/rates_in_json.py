"""Rates in `capacity.json`: the main answer has keys of its own, so that nobody takes a rate for users."""

from dataclasses import dataclass
from typing import Any

from probe_ext.measure.rate import as_json
from probe_ext.verdict.values.json_types import Amount

_ANSWER = {"served_users": "served_rate", "interval": "rate_interval", "bracket": "rate_bracket"}
_OF_USERS = ("estimate", "suggestion")
_LEVEL_USERS = ("users", "users_low", "users_high")


@dataclass(frozen=True)
class RateSuggestion:
    """What the data suggest, proven or not, in requests per second."""

    rate: Amount
    low: Amount
    high: Amount | None


def in_json(view: dict[str, Any]) -> dict[str, Any]:
    """Return a judgement's view with every rate in requests per second, and the main answer under the keys of rates."""
    if view["load"] != "rate":
        return view
    found = {**view, **dict.fromkeys(_OF_USERS)}
    for users, rate in _ANSWER.items():
        found[users], found[rate] = None, view[users]
    found["bracket"] = [None, None]
    if suggestion := view["suggestion"]:
        found["rate_suggestion"] = {"rate": suggestion["users"], "low": suggestion["low"], "high": suggestion["high"]}
    found["levels"] = [{**level, **dict.fromkeys(_LEVEL_USERS)} for level in view["levels"]]
    plain: dict[str, Any] = as_json(found)
    return plain
