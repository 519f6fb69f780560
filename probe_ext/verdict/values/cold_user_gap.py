"""The extra wait of users with a cold prompt, one that is not in the server's prefix cache."""

from dataclasses import dataclass
from typing import Literal

from probe_ext.verdict.values.json_types import Amount, Count, Fraction


@dataclass(frozen=True)
class ColdUserGap:
    """Cold users (prompt not in the prefix cache) against warm ones."""

    measured: bool
    how: str
    """how it was measured; otherwise that it was not, and what to run"""
    cold_p50: Amount | None = None
    """seconds until the first word, counted as the profile says; null where most replies never had one"""
    warm_p50: Amount | None = None
    ratio: Amount | None = None
    """cold over warm"""
    ratio_low: Amount | None = None
    """95 % interval of the ratio"""
    ratio_high: Amount | None = None
    served: bool | None = None
    """whether `cold_p50` is within the profile's bound for the first word"""
    cold_replies: Count | None = None
    warm_replies: Count | None = None
    hit_rate: Fraction | None = None
    """share of all prompt tokens of the run that came from the cache"""
    hit_rate_from: Literal["server", "client"] | None = None
    """from the server's counters, or from the usage of the replies"""
    cold_cached: Amount | None = None
    """share of the cold replies' prompt tokens that came from the cache, by their usage"""
    warm_cached: Amount | None = None
    cold_tokens_out: Amount | None = None
    """mean tokens per reply"""
    warm_tokens_out: Amount | None = None
