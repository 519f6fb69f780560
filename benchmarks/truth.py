"""What was really so, from the server's record, and how far a ruler's figures lie from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_COLUMNS = ("reply", "number", "arrived", "before", "before_real", "after")


def read_truth(path: Path) -> dict[str, Any]:
    """The server's record: a column each, times in nanoseconds."""
    table = np.fromfile(path, dtype=np.int64).reshape(-1, len(_COLUMNS))
    return {name: table[:, i] for i, name in enumerate(_COLUMNS)}


@dataclass(frozen=True)
class Error:
    """How far token times lie from the moment just before the write that handed them over, in microseconds."""

    tokens: int
    p50: float
    p99: float
    most: float
    ttft_p50: float
    """TTFT as measured, less the time from the request's arrival in the server's kernel to the first token's write"""
    ttft_p99: float
    beyond_p99: float
    """how far token times lie outside the server's write: within it, nothing could be nearer to the truth"""
    write_p99: float
    """how long that write took"""


def token_error(book: dict[str, Any], truth: dict[str, Any]) -> Error:
    """A book's token times against the truth that their own text carries."""
    off = np.abs(book["at"] * 1e9 - book["truth"]) / 1e3
    order = np.argsort(truth["before"])
    where = order[np.searchsorted(truth["before"], book["truth"], sorter=order)]
    at = book["at"] * 1e9
    began, over = truth["before"][where], truth["after"][where]
    beyond, write = np.maximum(np.maximum(began - at, at - over), 0) / 1e3, (over - began) / 1e3
    first = np.cumsum(book["tokens"]) - book["tokens"]
    ttft = book["at"][first] - book["sent"]
    true = (truth["before"][where[first]] - truth["arrived"][where[first]]) / 1e9
    ttft_off = np.abs(ttft - true) * 1e6
    p50, p99 = np.percentile(off, [50, 99])
    ttfts = np.percentile(ttft_off, [50, 99])
    return Error(len(off), p50, p99, off.max(), *ttfts, np.percentile(beyond, 99), np.percentile(write, 99))
