"""One request's life inside the engine. Counts are tokens, times seconds of the engine's clock."""

from dataclasses import dataclass, field

from probe_ext.sim.engine.kv_blocks import chain
from probe_ext.sim.engine.step_types import Finished, Output, Request, Tally


@dataclass(slots=True, eq=False)
class Life:
    """Where a request stands. ``total`` = prompt + what it said; ``computed`` of these are in the cache."""

    request: Request
    queued: float
    total: int = 0
    computed: int = 0
    room: int = 0
    said: int = 0
    blocks: list[int] = field(default_factory=list)
    published: int = 0
    preemptions: int = 0
    unreported: int = 0
    cached: int = 0
    scheduled: float | None = None
    first: float = 0.0
    last: float = 0.0
    over: bool = False
    _keys: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total = len(self.request.prompt)

    def keys(self, count: int, size: int) -> list[int]:
        """Hashes of the first ``count`` full blocks of ``size`` tokens, prompt and answer alike."""
        known = self._keys
        if len(known) < count:
            tokens = self.request.prompt + self.request.reply[: self.said]
            for index in range(len(known), count):
                known.append(chain(known[-1] if known else 0, tokens[index * size : (index + 1) * size]))
        return known[:count]

    def schedule(self, now: float, cached: int, tally: Tally) -> None:
        """Admitted: the first time counts for queue time and cache hits, later times are re-runs (as in vLLM)."""
        if self.scheduled is None:
            self.scheduled = now
            self.cached = cached
            tally.queries += self.total
            tally.hits += cached

    def speak(self, now: float, tally: Tally) -> Output:
        """Say the next token."""
        if self.said:
            tally.gaps[self.last] = tally.gaps.get(self.last, 0) + 1
        else:
            self.first = now
            tally.prompt_tokens += len(self.request.prompt)
            tally.cached_tokens += self.cached
            tally.first_waits.append(now - self.request.arrival)
        tally.reply_tokens += 1
        tally.preemptions += self.unreported
        self.unreported = 0
        self.last = now
        self.said += 1
        self.total += 1
        over = self.said == len(self.request.reply)
        return Output(self.request.id, self.said - 1, self.request.ends if over else None)

    def finished(self) -> Finished:
        """The figures that are known when it ends."""
        return Finished(
            request_id=self.request.id,
            finish=self.request.ends,
            prompt_tokens=len(self.request.prompt),
            cached_tokens=self.cached,
            reply_tokens=self.said,
            preemptions=self.preemptions,
            arrival=self.request.arrival,
            queued=self.queued,
            scheduled=self.queued if self.scheduled is None else self.scheduled,
            first=self.first,
            last=self.last,
        )
