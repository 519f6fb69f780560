"""Result of a comparison: values only. `Comparison.to_json()` is `compare.json`; its JSON Schema is derived from here.

Seconds, tokens per second, shares of 1. None is missing, never zero.
"""

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from probe_ext.verdict.values.json_types import Amount, Bracket, Count, Fraction, Interval, Limits, Text
from probe_ext.verdict.values.judgement import plain_json

COMPARISON_SCHEMA = 1

Outcome = Literal["better", "worse", "cannot_tell", "no_verdict"]
Reason = Literal[
    "", "too_few", "too_close", "gap_between_levels", "no_limit_reached", "server_changed", "no_noise_known"
]
Quantity = Literal[
    "capacity", "served", "first_word", "typing", "silence", "answer", "throughput", "ttft_p50", "ttft_p95",
    "decode_rate_p50", "longest_gap_p95", "cold_warm_ratio", "joules_per_1000_tokens", "cost_per_user_hour",
    "cost_per_million_tokens",
]  # fmt: skip
Aspect = Literal[
    "host", "model", "server", "version", "max_model_len", "server_setting", "runs", "slo", "workload", "prompts",
    "levels", "output_lengths", "cache", "client", "altered_replies", "validity",
]  # fmt: skip


@dataclass(frozen=True)
class Level:
    """Served share of one number of users, for the chart."""

    users: Count
    served_share: Fraction
    low: Fraction | None
    """95 % limits"""
    high: Fraction | None


@dataclass(frozen=True)
class SetUpResult:
    """What one set-up's own runs say."""

    name: Text
    runs: Annotated[tuple[str, ...], Limits(unique_items=True)]
    """their directories, or `capacity.json` files"""
    verdict: Literal["valid", "invalid", "unproven"]
    """the worst of its runs"""
    sentence: Text
    """the answer of its first run"""
    served_users: Count | None
    """capacity by all its runs together, as in `capacity.json`"""
    interval: Interval | None
    bracket: Bracket
    minutes: Amount | None
    """measured time of all its runs; null for a `capacity.json` alone"""
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Aspects:
    """One thing in which set-ups differ."""

    aspect: Aspect
    name: Text
    values: tuple[str, ...]
    """one for each set-up, in their order"""
    why: str = ""
    """why no winner can be named while it differs; empty for what is meant to differ"""


@dataclass(frozen=True)
class Row:
    """One question, asked of one set-up against the first."""

    quantity: Quantity
    users: Count | None
    """the level; null where the question is not about one"""
    set_up: Text
    """the set-up that is compared with the first"""
    baseline: float
    """value of the first set-up"""
    value: float
    """value of this one"""
    scale: Literal["ratio", "difference"]
    change: float | None
    """value ÷ baseline, or value − baseline; null where the baseline is 0"""
    low: float | None
    """limits of the change at this question's share of the error; null: no limit"""
    high: float | None
    outcome: Outcome
    reason: Reason
    """why it cannot be told; empty otherwise"""
    minutes_more: Amount | None
    """measured time, of both set-ups together, after which it would probably be told; null where it is told, or where
    more of the same would not tell"""


@dataclass(frozen=True)
class Comparison:
    """Two to ten set-ups, each compared with the first."""

    sentence: Text
    """the answer in plain words"""
    winner: str | None
    """the set-up that is proven to serve more people than every other; null where none is"""
    who: Literal["people", "agents"]
    """what the users of all runs are called: people, unless all of them are agents"""
    set_ups: tuple[SetUpResult, ...]
    meant: tuple[Aspects, ...]
    """what differs and may"""
    must_be_equal: tuple[Aspects, ...]
    """what differs and must not: no winner is named"""
    not_checked: tuple[str, ...]
    """what no file says of every set-up, and may differ"""
    between_runs: bool
    """whether repeated runs put the spread between runs into the intervals"""
    error: Fraction
    """chance of a wrong `better`, and of a wrong `worse`: for capacity, and for all other questions together"""
    questions: Count
    """how many other questions share that error: all but shares of which no reply fell short in any set-up"""
    minutes_for_ten_percent: Amount | None
    """measured time, of both set-ups together, that tells a difference in capacity of 10 %, or of one person where that
    is more; of the first comparison; null where the levels are too far apart for it"""
    rows: tuple[Row, ...]

    def to_json(self) -> dict[str, Any]:
        """Return `compare.json` as plain types, rounded, without NaN."""
        content: dict[str, Any] = plain_json({"schema": COMPARISON_SCHEMA, **asdict(self)})
        return content
