"""The four questions and their answers, as values: each dimension by itself, and the cold user."""

from dataclasses import dataclass

from probe_ext.verdict.values.level_result import State


@dataclass(frozen=True)
class QuestionLevel:
    """One level judged by one dimension alone."""

    users: int
    band: bool
    state: State
    served_share: float | None
    users_served: int
    users_heard: int


@dataclass(frozen=True)
class Question:
    """How far one dimension holds by itself."""

    dimension: str
    served_users: int | None
    """0 where the lowest level fails; None where nothing is proven"""
    bracket: tuple[int | None, int | None]
    levels: tuple[QuestionLevel, ...]


@dataclass(frozen=True)
class ColdUser:
    """The gap between users whose prompt the server has in its cache, and those it has not."""

    measured: bool
    how: str
    """how it was measured; or that it was not, and what to run"""
    cold_p50: float | None = None
    """seconds until the first word, as the profile counts it; None where most never had one"""
    warm_p50: float | None = None
    ratio: float | None = None
    """cold to warm"""
    ratio_low: float | None = None
    ratio_high: float | None = None
    served: bool | None = None
    """whether the cold p50 is within the profile's bound for the first word"""
    cold_replies: int | None = None
    warm_replies: int | None = None
    hit_rate: float | None = None
    """of all prompt tokens of the run"""
    hit_rate_from: str | None = None
    """`server`: its counters; `client`: what its replies say; None: not known"""
    cold_cached: float | None = None
    """share of the arm's prompt tokens that came from the cache, as its replies say"""
    warm_cached: float | None = None
    cold_tokens_out: float | None = None
    """tokens of a reply, mean"""
    warm_tokens_out: float | None = None
