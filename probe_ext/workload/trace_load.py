"""A trace as the load of a workload: which file, which part of it, and how fast."""

import math
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from probe_ext.settings.durations import seconds
from probe_ext.workload.section import MAX_TOKENS, FilePath, Section
from probe_ext.workload.traces.read_trace import read_trace
from probe_ext.workload.traces.replay_times import Pass
from probe_ext.workload.traces.tap_recording import is_recording, requests_file
from probe_ext.workload.traces.trace import Trace
from probe_ext.workload.traces.trace_lines import TraceError

MAX_SPEEDS = 64
MIN_SPEED, MAX_SPEED = 0.001, 1000.0


def _speeds(raw: Any) -> Any:
    """Read one speed or a list of them."""
    given = raw if isinstance(raw, list | tuple) else [raw]
    for speed in given:
        if isinstance(speed, bool) or not isinstance(speed, int | float) or not MIN_SPEED <= speed <= MAX_SPEED:
            raise ValueError(f": {speed!r}: must be a number from {MIN_SPEED:g} to {MAX_SPEED:,.0f}, or a list of them")
    if not 1 <= len(given) <= MAX_SPEEDS:
        raise ValueError(f": {len(given)} speeds: must be 1 to {MAX_SPEEDS}")
    if any(a == b for a, b in pairwise(given)):
        raise ValueError(": repeats a speed: consecutive ones must differ")
    return tuple(map(float, given))


def _moment(raw: Any) -> Any:
    """Read seconds: a number, or text such as `10m`."""
    if isinstance(raw, str):
        return seconds(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise ValueError(f": {raw!r}: must be seconds, or text such as 10m")
    return float(raw)


Moment = Annotated[float, BeforeValidator(_moment), Field(ge=0)]


class TraceLoad(Section):
    """A file of recorded requests that is replayed."""

    file: FilePath
    speed: Annotated[tuple[float, ...], BeforeValidator(_speeds)] = (1.0,)
    """how many times faster than recorded sessions begin; of several, the trace is replayed once at each"""
    start: Moment = 0.0
    """of the part that is replayed, in seconds since the first request"""
    end: Moment | None = None
    block_tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    """tokens of the block that each hash stands for; None: as usual in the file's form"""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end: {self.end:g}: must be later than start ({self.start:g})")
        return self

    def open(self, context: int | None = None) -> Trace:
        """Return the part of the trace that is replayed, without what is too long for the model's context in tokens.

        TraceError, in one line, if it cannot be replayed.
        """
        path = Path(self.file)
        try:
            about = (requests_file(path) if is_recording(path) else path).stat()
            state: tuple[int, ...] = (about.st_ino, about.st_size, about.st_mtime_ns)
        except OSError:
            state = ()
        part = _part(path, state, self.block_tokens, self.start, self.end)
        if not part.requests:
            until = "its end" if self.end is None else f"{self.end:g} s"
            raise TraceError(f"{self.file}: has no request from {self.start:g} s to {until}")
        fitting = part.fitting(context)
        if not fitting.requests:
            raise TraceError(
                f"{self.file}: none of its {len(part.requests):,} requests fits the context of {context:,} tokens"
            )
        return fitting


@lru_cache(maxsize=2)
def _part(path: Path, state: tuple[int, ...], block_tokens: int | None, start: float, end: float | None) -> Trace:
    """Return a part of a file that was read once; `state` changes with the file."""
    return read_trace(path, block_tokens).between(start, end)


def passes_of(load: TraceLoad, trace: Trace) -> tuple[Pass, ...]:
    """Return the replays of a trace at recorded times, one for each speed. TraceError if it has no duration."""
    if trace.seconds <= 0:
        n = len(trace.requests)
        why = "has a single request" if n == 1 else f"has {n:,} requests at the same moment"
        raise TraceError(f"{load.file}: {why}, from which no rate follows; replay it with `arrivals: users`")
    return tuple(Pass(trace, speed) for speed in load.speed)
