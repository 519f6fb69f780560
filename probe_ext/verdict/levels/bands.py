"""Bands: a climb without plateaus, cut into pieces in which the number of users hardly changed."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 0.10
"""a band's counts lie within this part of its lowest"""
NARROWEST = 1
"""or within so many users, whichever is wider"""
SHORTEST = 5.0
"""seconds: a band is widened until it lasts so long"""


@dataclass(frozen=True)
class Band:
    """A piece of a climb, seconds of the run."""

    low: int
    high: int
    start: float
    end: float


def cut_bands(climb: Sequence[tuple[float, float, int]]) -> list[Band]:
    """Cut a climb, given as (start, end, users) in order, into bands.

    A band grows while its count stays within 10 % (at least one user) of its lowest, and in any case until it lasts
    5 s. What is left at the end and too short to be a band is left out.
    """
    bands: list[Band] = []
    current: Band | None = None
    for start, end, users in climb:
        if current is None or not _fits(current, users):
            bands += [current] if current else []
            current = Band(users, users, start, end)
        else:
            current = Band(current.low, users, current.start, end)
    bands += [current] if current else []
    return [band for band in bands if band.end - band.start >= SHORTEST]


def _fits(band: Band, users: int) -> bool:
    within = users <= band.low + max(NARROWEST, WIDTH * band.low)
    return within or band.end - band.start < SHORTEST
