"""The open stream of a replayed trace: each level is one pass of it, and arrivals come when they were recorded."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.swarm.master.open_stream import OpenStream, Segment
from probe_ext.workload.arrival_times import TRACE, ArrivalForm
from probe_ext.workload.traces.replay_times import Pass


@dataclass(frozen=True)
class _Count:
    """Counts the requests of a pass from a moment of it on."""

    replay: Pass | None
    since: float

    def until(self, seconds: float) -> Counter[str]:
        """Return how many are due before `seconds` from then."""
        if self.replay is None:
            return Counter()
        return Counter({"": self.replay.count_until(self.since + seconds) - self.replay.count_until(self.since)})


class TraceStream(OpenStream):
    """The segments of one run; `passes`: the replays of its trace, in order."""

    def __init__(self, passes: Sequence[Pass], seed: int, give_up: float, now: Callable[[], float]) -> None:
        super().__init__(ArrivalForm(), seed, give_up, now)
        self._passes = passes

    def _counter(self, segment: Segment) -> _Count:
        replay = self._passes[segment.level] if segment.level < len(self._passes) else None
        return _Count(replay, segment.start - segment.since)

    def form_as_json(self) -> dict[str, Any]:
        """Return that the arrivals are those of a trace."""
        return {"form": TRACE}

    def as_json(self) -> dict[str, Any]:
        """Return the manifest's `arrivals`; `requests` of each segment: how many of the trace are due in it so far."""
        content = super().as_json()
        now = self._now() if self.ended is None else self.ended
        for i, (segment, told) in enumerate(zip(self.segments, content["segments"], strict=True)):
            end = min(now, self.segments[i + 1].start if i + 1 < len(self.segments) else now)
            told["requests"] = self._counter(segment).until(end - segment.start).total() if segment.rate else 0
        return content
