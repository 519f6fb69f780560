"""The open stream of a run, on the master: which rate is in force when, and which worker takes which arrivals.

A *segment* is a stretch of constant rate with the same workers. It is announced LEAD_S before it starts, so that all
workers change over at the same moment of the master's clock. When workers come or go, a new segment starts at the same
rate. Nobody sends arrivals around: each worker computes the segment's schedule and takes its share of it.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from probe_ext.measure.rate import Rate
from probe_ext.workload.arrival_times import TRACE, ArrivalCount, ArrivalForm, segment_seed
from probe_ext.workload.traces.replay_times import Pass

LEAD_S = 1.0
_ANNOUNCED = 3
"""newest segments that an announcement repeats: a worker may have missed the last one"""


@dataclass(frozen=True)
class Segment:
    """Seconds of the run."""

    number: int
    rate: Rate
    """0: nothing arrives"""
    start: float
    workers: tuple[str, ...]
    """in the order of their shares"""
    before: Mapping[str, int]
    """arrivals of each kind in earlier segments"""
    level: int
    """how many levels, stretches of one rate above 0 whoever sends, came before"""
    since: float
    """when this level began"""


class Counting(Protocol):
    """Counts the arrivals of a segment, by kind, as time goes on."""

    def until(self, seconds: float) -> Counter[str]:
        """Return how many lie before `seconds` from its start."""


class OpenStream:
    """The segments of one run."""

    def __init__(
        self,
        form: ArrivalForm,
        seed: int,
        give_up: float,
        now: Callable[[], float],
        kinds: Mapping[str, float] | None = None,
        give_up_of: Mapping[str, float] | None = None,
        *,
        to_each: bool = False,
    ) -> None:
        """Describe a stream without a rate.

        `give_up`: seconds after which an arrival without a free slot is recorded as not sent; `give_up_of`: the same
        for arrivals of a kind. `kinds`: share of each kind of user, if there are several; `to_each`: every arrival
        comes to each of them.
        """
        self.to_each = to_each
        self.form, self.seed, self.kinds = form, seed, dict(kinds or {})
        self.give_up, self.give_up_of = give_up, dict(give_up_of or {})
        self.segments: list[Segment] = []
        self.announce: Callable[[], None] = lambda: None
        """sends the segments to the workers"""
        self.workers: Callable[[], Sequence[str]] = tuple
        """returns the ids of the workers that can take part now"""
        self.ended: float | None = None
        """second of the run at which the stream was stopped in the middle of a segment"""
        self._now = now
        self._count: Counting | None = None
        """of the newest segment; None: nothing arrives in it"""

    def ask(self, rate: Rate) -> None:
        """Have requests arrive at this rate, soon; nothing changes if they do already, with the same workers."""
        workers = tuple(sorted(self.workers()))
        latest = self.segments[-1] if self.segments else None
        if self.ended is not None or (latest is not None and (latest.rate, latest.workers) == (rate, workers)):
            return
        start = max(self._now() + LEAD_S, latest.start if latest else 0.0)
        before = self._arrivals_before(start)
        if latest is not None and latest.rate == rate:
            level, since = latest.level, latest.since
        else:
            level, since = len({one.level for one in self.segments if one.rate}), start
        self.segments.append(Segment(len(self.segments), rate, start, workers, before, level, since))
        self._count = self._counter(self.segments[-1]) if rate else None
        self.announce()

    def check_workers(self) -> None:
        """Share the arrivals out anew if workers have come or gone."""
        if self.segments:
            self._arrivals_before(self._now())  # counted as time goes on, a long segment takes no time at its end
            self.ask(self.segments[-1].rate)

    def stop(self) -> None:
        """Note that the stream ends now: the workers are being drained."""
        self.ended = self._now() if self.ended is None else self.ended

    def rate_at(self, t: float) -> Rate:
        """Return the rate in force at a second of the run; 0 before the first segment and after the end."""
        if self.ended is not None and t >= self.ended:
            return Rate(0)
        return next((one.rate for one in reversed(self.segments) if one.start <= t), Rate(0))

    def _arrivals_before(self, t: float) -> Mapping[str, int]:
        """Return how many arrivals of each kind are due before a second of the newest segment or after it."""
        if not self.segments:
            return {}
        latest = self.segments[-1]
        return Counter(latest.before) + (self._count.until(t - latest.start) if self._count else Counter())

    def _counter(self, segment: Segment) -> Counting:
        """Return what counts the arrivals of a segment with a rate."""
        seed = segment_seed(self.seed, segment.number)
        return ArrivalCount(self.form.times(segment.rate.per_second, seed), self.kinds, seed, to_each=self.to_each)

    def form_as_json(self) -> dict[str, Any]:
        """Return how arrivals are distributed."""
        return self.form.as_json()

    @property
    def is_over(self) -> bool:
        """Whether the last segment, without arrivals, has begun."""
        return bool(self.segments) and not self.segments[-1].rate and self._now() >= self.segments[-1].start

    def message(self, worker: str, origin: float) -> dict[str, Any]:
        """Return what a worker needs to know. `origin`: the run's zero on its clock."""
        return {
            **self.form_as_json(),
            "seed": self.seed,
            "give_up": self.give_up,
            "give_up_of": self.give_up_of,
            "kinds": self.kinds,
            "to_each": self.to_each,
            "segments": [
                {
                    "number": one.number,
                    "rate": one.rate.per_second,
                    "start": origin + one.start,
                    "index": one.workers.index(worker) if worker in one.workers else None,
                    "of": len(one.workers),
                    "before": dict(one.before),
                    "replay": one.level,
                    "since": origin + one.since,
                }
                for one in self.segments[-_ANNOUNCED:]
            ],
        }

    def as_json(self) -> dict[str, Any]:
        """Return the manifest's `arrivals`."""
        return {
            **self.form_as_json(),
            "seed": self.seed,
            "give_up": self.give_up,
            "give_up_of": self.give_up_of,
            "ended": self.ended,
            "segments": [
                {"rate": one.rate.per_second, "from": one.start, "workers": list(one.workers)} for one in self.segments
            ],
        }


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
    """The open stream of a replayed trace: each level is one of `passes`, and requests come as recorded."""

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
        for i, (segment, recorded) in enumerate(zip(self.segments, content["segments"], strict=True)):
            end = min(now, self.segments[i + 1].start if i + 1 < len(self.segments) else now)
            recorded["requests"] = self._counter(segment).until(end - segment.start).total() if segment.rate else 0
        return content
