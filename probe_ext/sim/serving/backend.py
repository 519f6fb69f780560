"""What runs behind the HTTP face: the engine on real time, the counters, the record; its starts and restarts."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from probe_ext.sim.engine.pacer import Pacer
from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.faults import Fault
from probe_ext.sim.ground_truth import Truth
from probe_ext.sim.metrics.vllm_metrics import Metrics
from probe_ext.sim.personality import Personality
from probe_ext.sim.profile import Profile

FLUSH_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """How the server is run."""

    profile: Profile
    personality: Personality = field(default_factory=Personality)
    speed: float = 1.0
    seed: int = 0
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)
    metrics: str = "on"
    truth: str | None = None
    faults: tuple[Fault, ...] = ()


class Backend:
    """One server's engine room. ``profile`` is the one in force, ``model`` the name it answers to."""

    clock: Callable[[], float]
    created: float
    pacer: Pacer

    def __init__(self, options: Options) -> None:
        self.options = options
        self.profile = options.personality.applied(options.profile)
        self.model = options.model or self.profile.model
        self._down_until = 0.0

    @property
    def down(self) -> bool:
        """Whether it is still starting again."""
        return self.clock() < self._down_until

    def unix(self, moment: float) -> float:
        """A moment of the monotonic clock as Unix time."""
        return self.created + moment - self._started

    async def lifetime(self, _: object) -> AsyncIterator[None]:
        """Run from here to the application's end (an aiohttp cleanup context)."""
        self.clock = asyncio.get_running_loop().time
        self._started = self.clock()
        self.created = time.time()  # noqa: TID251 - Unix time appears in bodies, metrics and the record's head
        self._truth = Truth(self.options.truth, self._head())
        self.pacer = Pacer(self._engine(), self._metrics(), self._truth, self.clock)
        tasks = [asyncio.create_task(work) for work in (self.pacer.run(), self._flush(), self._planned_restarts())]
        for task in tasks:
            task.add_done_callback(_give_up_on_failure)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._truth.close()

    def restart(self, fault: Fault) -> None:
        """The engine dies and starts again: open streams fail, counters begin at 0, SECONDS of downtime."""
        self._down_until = self.clock() + (fault.seconds or 0.0)
        self._truth.event("restart", self.clock())
        self.pacer.replace(self._engine(), self._metrics())

    def stop(self) -> None:
        """End all open streams as vLLM does when it is told to end: with an error inside the stream."""
        self._truth.event("stop", self.clock())
        self.pacer.replace(self._engine(), self._metrics())

    def _engine(self) -> Engine:
        return Engine(self.profile, self.options.speed, self.options.personality.cold)

    def _metrics(self) -> Metrics:
        return Metrics(self.profile, self.model, time.time())  # noqa: TID251 - creation times are Unix times

    def _head(self) -> dict[str, Any]:
        return {
            "monotonic": self._started,
            "epoch": self.created,
            "profile": asdict(self.profile),
            "personality": asdict(self.options.personality),
            "speed": self.options.speed,
            "seed": self.options.seed,
            "model": self.model,
        }

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            self._truth.flush()

    async def _planned_restarts(self) -> None:
        planned = [fault for fault in self.options.faults if fault.kind == "restart"]
        for fault in sorted(planned, key=lambda each: each.share):
            await asyncio.sleep(max(0.0, self._started + fault.share - self.clock()))
            self.restart(fault)


def _give_up_on_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        # A simulator that no longer steps would look like a server that hangs: better gone than wrong.
        print(f"simulator: {type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - as above
        os._exit(1)
