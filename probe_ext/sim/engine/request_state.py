"""The state of one request inside the engine. Counts are tokens, times are seconds on the engine's clock."""

from dataclasses import dataclass, field

from probe_ext.sim.engine.kv_blocks import hash_block
from probe_ext.sim.engine.step_types import Finished, Output, Request, Tally


@dataclass(slots=True, eq=False)
class RequestState:
    """Progress of one request.

    ``total`` counts prompt and generated tokens, ``computed`` those whose K and V are in the cache, ``capacity`` those
    that fit the blocks it holds.
    """

    request: Request
    queued: float
    total: int = 0
    computed: int = 0
    capacity: int = 0
    generated: int = 0
    blocks: list[int] = field(default_factory=list)
    hashed_blocks: int = 0
    preemptions: int = 0
    unreported_preemptions: int = 0
    cached_tokens: int = 0
    scheduled: float | None = None
    first: float = 0.0
    last: float = 0.0
    done: bool = False
    _hashes: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.total = len(self.request.prompt)

    def block_hashes(self, count: int, block_size: int) -> list[int]:
        """Return the hashes of the first ``count`` full blocks, over prompt and generated tokens."""
        hashes = self._hashes
        if len(hashes) < count:
            tokens = self.request.prompt + self.request.reply[: self.generated]
            for index in range(len(hashes), count):
                block = tokens[index * block_size : (index + 1) * block_size]
                hashes.append(hash_block(hashes[-1] if hashes else 0, block))
        return hashes[:count]

    def mark_scheduled(self, now: float, cached_tokens: int, tally: Tally) -> None:
        """Record an admission; as in vLLM, only the first counts for queue time and prefix cache hits."""
        if self.scheduled is None:
            self.scheduled = now
            self.cached_tokens = cached_tokens
            tally.prefix_queries += self.total
            tally.prefix_hits += cached_tokens

    def emit_token(self, now: float, tally: Tally) -> Output:
        """Generate the next token."""
        if self.generated:
            tally.previous_tokens[self.last] = tally.previous_tokens.get(self.last, 0) + 1
        else:
            self.first = now
            tally.prompt_tokens += len(self.request.prompt)
            tally.cached_tokens += self.cached_tokens
            tally.ttfts.append(now - self.request.arrival)
        tally.reply_tokens += 1
        tally.preemptions += self.unreported_preemptions
        self.unreported_preemptions = 0
        self.last = now
        self.generated += 1
        self.total += 1
        last = self.generated == len(self.request.reply)
        return Output(self.request.id, self.generated - 1, self.request.finish_reason if last else None)

    def summary(self) -> Finished:
        """Return the figures of a request that has finished."""
        return Finished(
            request_id=self.request.id,
            finish_reason=self.request.finish_reason,
            prompt_tokens=len(self.request.prompt),
            cached_tokens=self.cached_tokens,
            reply_tokens=self.generated,
            preemptions=self.preemptions,
            arrival=self.request.arrival,
            queued=self.queued,
            scheduled=self.queued if self.scheduled is None else self.scheduled,
            first=self.first,
            last=self.last,
        )
