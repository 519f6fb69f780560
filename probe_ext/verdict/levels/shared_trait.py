"""What do the users share who are served worse than the others, as far as the rows of replies tell?

For each trait the worse group is compared with the users who have it. If the trait had nothing to do with service, the
number of worse users among them would be that of a draw without replacement (R. A. Fisher, Journal of the Royal
Statistical Society 98 (1935) 39–54). A trait is named if the chance of so many, times the number of traits compared
(Bonferroni), is at most ERROR.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from probe_ext.verdict.evidence.columns import Bools, Codes, Floats, Ints, numbers, sorted_codes, text_column
from probe_ext.verdict.evidence.evidence import Columns, Evidence
from probe_ext.verdict.evidence.manifest_view import workers
from probe_ext.verdict.evidence.text_columns import TextColumn
from probe_ext.verdict.inference.observations import Visit
from probe_ext.verdict.inference.user_differences import split_users, user_residuals
from probe_ext.verdict.phrasing.formats import count, percent, seconds
from probe_ext.verdict.phrasing.worker_names import worker_name
from probe_ext.verdict.values.capacity_estimate import SharedTrait, Trait

ERROR = 0.01
"""of naming any trait where none matters"""
MIN_COVERED = 0.75
"""of the worse users must have what they are said to share"""
_TRAITS = ("scenario", "kind", "worker", "connect", "tokens_in", "tokens_cached", "tokens_out")


@dataclass(frozen=True)
class Candidate:
    """A trait, its value, and who has it."""

    trait: Trait
    value: str
    users: Bools
    """who has it"""


def shared_trait(evidence: Evidence, visits: Sequence[Visit], user_of: Codes) -> SharedTrait | None:
    """Return the trait that tells the worse users from the others best; None where none does beyond chance.

    `user_of`: the code of each reply's user, as the visits have it.
    """
    residuals = user_residuals(visits)
    mixture = split_users(residuals)
    if mixture is None:
        return None
    rows = np.isin(user_of, residuals.users)
    user = np.searchsorted(residuals.users, user_of[rows])
    replies = {name: evidence.replies[name][rows] for name in _TRAITS if name in evidence.replies}
    candidates = _candidates(replies, user, evidence.manifest, mixture.worse)
    return most_telling(candidates, mixture.worse)


def most_telling(candidates: Sequence[Candidate], worse: Bools) -> SharedTrait | None:
    """Return the candidate with the smallest chance, if that is small enough for so many candidates."""
    found = []
    for place, one in enumerate(candidates):
        both = int((one.users & worse).sum())
        chance = len(candidates) * draw_chance(both, int(one.users.sum()), int(worse.sum()), len(worse))
        if chance <= ERROR and both >= MIN_COVERED * worse.sum():
            found.append((chance, place, both))
    if not found:
        return None
    chance, place, both = min(found)
    one = candidates[place]
    return SharedTrait(one.trait, one.value, both, int(worse.sum()), int(one.users.sum()), chance)


def draw_chance(both: int, having: int, worse: int, users: int) -> float:
    """Return the chance that at least `both` of `having` users drawn from all are among the worse."""
    ways = sum(math.comb(worse, k) * math.comb(users - worse, having - k) for k in range(both, min(having, worse) + 1))
    return ways / math.comb(users, having)


def _candidates(replies: Columns, user: Ints, manifest: Mapping[str, Any], worse: Bools) -> list[Candidate]:
    users = len(worse)
    hosts = {str(worker.get("id")): str(worker.get("host") or "") for worker in workers(manifest)}
    worker_ids = text_column(replies, "worker")
    named: list[tuple[Trait, TextColumn, Callable[[str], str]]] = [
        ("scenario", text_column(replies, "scenario"), str),
        ("kind", text_column(replies, "kind"), str),
        ("machine", TextColumn(worker_ids.codes, [hosts.get(one, "") for one in worker_ids.names]), str),
        ("worker", worker_ids, lambda one: worker_name(manifest, one)),
    ]
    found = [one for trait, values, name in named for one in _by_name(trait, values, name, user, users)]
    fresh = (~np.isnan(numbers(replies, "connect"))).astype(np.float64)
    prompts, cached = numbers(replies, "tokens_in"), numbers(replies, "tokens_cached")
    measured: list[tuple[Trait, Floats, Callable[[float], str]]] = [
        ("long_prompts", prompts, count),
        ("long_answers", numbers(replies, "tokens_out"), count),
        ("few_cached_tokens", -cached, lambda mean: count(-mean)),
        ("slow_connections", numbers(replies, "connect"), seconds),
        ("new_connections", fresh, percent),
    ]
    known = [_highest(trait, _means(values, user, users), name, int(worse.sum())) for trait, values, name in measured]
    return [*found, *(one for one in known if one is not None)]


def _by_name(trait: Trait, values: TextColumn, name: Callable[[str], str], user: Ints, users: int) -> list[Candidate]:
    """A candidate for each value; a user has the value of most of its replies."""
    codes, names = sorted_codes(values)
    counts = np.bincount(user * len(names) + codes, minlength=users * len(names))
    own = counts.reshape(users, len(names)).argmax(axis=1)
    having = [(value, own == code) for code, value in enumerate(names) if value]
    return [Candidate(trait, name(value), who) for value, who in having if 0 < who.sum() < users]


def _means(values: Floats, user: Ints, users: int) -> Floats:
    """The mean of each user's known values; NaN without any."""
    known = ~np.isnan(values)
    number = np.bincount(user[known], minlength=users)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.bincount(user[known], values[known], minlength=users) / number)


def _highest(trait: Trait, means: Floats, name: Callable[[float], str], worse: int) -> Candidate | None:
    """As many users as are worse off, those with the highest means; None where these are no clear group."""
    if np.isnan(means).any():
        return None
    bound = np.sort(means)[-worse]
    highest = means >= bound
    if highest.sum() > 2 * worse or highest.all():
        return None
    return Candidate(trait, name(float(means[highest].mean())), highest)
