"""The four questions as cards: how far each holds by itself, with a small picture of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from probe_ext.report import words
from probe_ext.report.pictures import Figure, question
from probe_ext.report.svg import Plot
from probe_ext.settings.slo import SloProfile


@dataclass(frozen=True)
class Card:
    """One question."""

    key: str
    """the term that defines its figure"""
    question: str
    answer: str
    plot: Plot | None
    caption: str
    first: bool
    """whether this is what broke first"""


def _speed(value: float | None) -> str:
    return f"{words.rate(value)}/s"


ASKED = (
    (
        "first_word",
        "How long until the first word?",
        Figure("wait for the first word (p95), by users", "first_word_p95", words.seconds),
    ),
    (
        "typing",
        "How fast does it type?",
        Figure("tokens a second of one reply (p50), by users", "decode_rate_p50", _speed, more_is_better=True),
    ),
    (
        "silence",
        "Does it fall silent?",
        Figure("longest silence, by users", "longest_gap_max", words.seconds),
    ),
)


def cards(capacity: Mapping[str, Any], profile: SloProfile) -> list[Card]:
    """All four, in the order in which a user meets them."""
    return [*(_card(*asked, capacity, profile) for asked in ASKED), _cold(capacity)]


def _card(key: str, asks: str, figure: Figure, capacity: Mapping[str, Any], profile: SloProfile) -> Card:
    bounds = getattr(profile, key)
    levels = capacity["levels"]
    plot = question(levels, figure, (bounds.served, bounds.strained) if bounds else None) if levels else None
    first = capacity["breaks_first"] == key
    answer = _holds(capacity["questions"].get(key), first=first) if bounds else "not judged by this profile"
    return Card(key, asks, answer, plot, figure.name, first)


def _holds(asked: Mapping[str, Any] | None, *, first: bool) -> str:
    users = asked["served_users"] if asked else None
    if users is None:
        return "not proven"
    behind = ", breaks first" if first else ""
    return f"fine to {words.count(users)}{behind}" if users else f"not even at the lowest level{behind}"


def _cold(capacity: Mapping[str, Any]) -> Card:
    return Card(
        "cold", "What does a cold user wait?", "not measured in this run", None, capacity["cold_user"]["how"], False
    )
