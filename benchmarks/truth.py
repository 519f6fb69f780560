"""The true token times, from the server's record, and the error of measured times."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_COLUMNS = ("reply", "number", "arrived", "before", "before_real", "after")


def read_truth(path: Path) -> dict[str, Any]:
    """Read the server's record; return its columns by name, with times in nanoseconds."""
    table = np.fromfile(path, dtype=np.int64).reshape(-1, len(_COLUMNS))
    return {name: table[:, i] for i, name in enumerate(_COLUMNS)}


@dataclass(frozen=True)
class TokenError:
    """Difference between measured token times and the moment just before the server's write, in microseconds."""

    tokens: int
    p50: float
    p99: float
    max: float
    ttft_p50: float
    """Difference between measured TTFT and the time from the request's arrival in the server's kernel to the write."""
    ttft_p99: float
    outside_p99: float
    """How far token times are outside the server's write; within it, the true time is unknown."""
    outside_p99_alone: float
    """The same for the tokens whose read returned no other."""
    write_p99: float
    """Duration of the write."""


def token_error(token_log: dict[str, Any], truth: dict[str, Any]) -> TokenError:
    """Compare logged token times with the true times in the tokens' texts."""
    error = np.abs(token_log["at"] * 1e9 - token_log["truth"]) / 1e3
    order = np.argsort(truth["before"])
    where = order[np.searchsorted(truth["before"], token_log["truth"], sorter=order)]
    at = token_log["at"] * 1e9
    start, end = truth["before"][where], truth["after"][where]
    outside, write = np.maximum(np.maximum(start - at, at - end), 0) / 1e3, (end - start) / 1e3
    first = np.cumsum(token_log["tokens"]) - token_log["tokens"]
    ttft = token_log["at"][first] - token_log["sent"]
    true = (truth["before"][where[first]] - truth["arrived"][where[first]]) / 1e9
    ttft_error = np.abs(ttft - true) * 1e6
    p50, p99 = np.percentile(error, [50, 99])
    ttfts = np.percentile(ttft_error, [50, 99])
    outsides = [np.percentile(of_tokens, 99) for of_tokens in (outside, outside[_alone(token_log["at"], first)])]
    return TokenError(len(error), p50, p99, error.max(), *ttfts, *outsides, np.percentile(write, 99))


def _alone(at: Any, first: Any) -> Any:
    """Tell which tokens have a time that neither the one before nor the one after has, of the same reply."""
    as_before = np.concatenate([[False], at[1:] == at[:-1]])
    as_before[first] = False
    return ~(as_before | np.concatenate([as_before[1:], [False]]))
