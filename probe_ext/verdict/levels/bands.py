"""Bands: pieces of a ramp without plateaus in which the number of users hardly changes."""

from collections.abc import Sequence
from dataclasses import dataclass

MAX_WIDTH = 0.10
"""Of the lowest number of users in the band."""
MIN_WIDTH_USERS = 1
MIN_BAND_S = 5.0
"""A band is widened until it lasts this long."""


@dataclass(frozen=True)
class Band:
    """A piece of a ramp, seconds of the run."""

    low: int
    high: int
    start: float
    end: float


def cut_bands(ramp: Sequence[tuple[float, float, int]]) -> list[Band]:
    """Cut a ramp, given as (start, end, users) in order, into bands.

    A band grows while its count stays within 10 % (at least one user) of its lowest, and until it lasts 5 s. A rest too
    short to be a band is dropped.
    """
    bands: list[Band] = []
    current: Band | None = None
    for start, end, users in ramp:
        if current is None or not _fits(current, users):
            bands += [current] if current else []
            current = Band(users, users, start, end)
        else:
            current = Band(current.low, users, current.start, end)
    bands += [current] if current else []
    return [band for band in bands if band.end - band.start >= MIN_BAND_S]


def _fits(band: Band, users: int) -> bool:
    within = users <= band.low + max(MIN_WIDTH_USERS, MAX_WIDTH * band.low)
    return within or band.end - band.start < MIN_BAND_S
