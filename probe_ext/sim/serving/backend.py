"""What runs behind the HTTP API: engine, metrics and truth log, with their start, restart and stop."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from probe_ext.sim.engine.gpu_model import Gpu
from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.faults import Fault
from probe_ext.sim.metrics.vllm_metrics import Metrics
from probe_ext.sim.personality import Personality
from probe_ext.sim.profile import Profile
from probe_ext.sim.serving.pacer import Pacer
from probe_ext.sim.serving.truth_log import TruthLog

TRUTH_FLUSH_INTERVAL_S = 0.5
TWIN_AGE_S = 100.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Settings of one simulated server."""

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
    """One server's state. ``profile`` includes the personality's changes; ``model`` is the served model name."""

    clock: Callable[[], float]
    created: float
    pacer: Pacer

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.profile = options.personality.applied(options.profile)
        self.model = options.model or self.profile.model
        self._down_until = 0.0

    @property
    def restarting(self) -> bool:
        """Whether the server is still down after a restart."""
        return self.clock() < self._down_until

    def unix_time(self, moment: float) -> float:
        """Convert a time on the monotonic clock to Unix time."""
        return self.created + moment - self._started

    async def lifetime(self, _: object) -> AsyncIterator[None]:
        """Run the engine for the application's lifetime (an aiohttp cleanup context)."""
        self.clock = asyncio.get_running_loop().time
        self._started = self.clock()
        self.created = time.time()  # noqa: TID251 - response bodies, metrics and truth log need Unix time
        self._truth = TruthLog(self.options.truth, self._truth_header())
        self.pacer = Pacer(self._new_engine(), self._new_metrics(), self._truth, self.clock)
        tasks = [
            asyncio.create_task(work) for work in (self.pacer.run(), self._flush_truth(), self._scheduled_restarts())
        ]
        for task in tasks:
            task.add_done_callback(_exit_on_failure)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._truth.close()

    def restart(self, fault: Fault) -> None:
        """Restart the engine: open streams fail, counters reset, and the server is down for the fault's seconds."""
        self._down_until = self.clock() + (fault.seconds or 0.0)
        self._truth.log_event("restart", self.clock())
        self.pacer.replace(self._new_engine(), self._new_metrics())

    def stop(self) -> None:
        """End all open streams with an error event, as vLLM does on shutdown."""
        self._truth.log_event("stop", self.clock())
        self.pacer.replace(self._new_engine(), self._new_metrics())

    def _new_engine(self) -> Engine:
        personality = self.options.personality
        gpu = Gpu(self.profile.hot_celsius_per_watt) if personality.hot_gpu else Gpu()
        return Engine(self.profile, self.options.speed, personality.cold, gpu=gpu)

    def _new_metrics(self) -> Metrics:
        return Metrics(self.profile, self.model, time.time())  # noqa: TID251 - creation times are Unix times

    def idle_twin(self) -> Metrics:
        """Return the metrics of another server behind the same address, which started earlier and does nothing."""
        return Metrics(self.profile, self.model, self.created - TWIN_AGE_S)

    def _truth_header(self) -> dict[str, Any]:
        return {
            "monotonic": self._started,
            "epoch": self.created,
            "profile": asdict(self.profile),
            "personality": asdict(self.options.personality),
            "speed": self.options.speed,
            "seed": self.options.seed,
            "model": self.model,
        }

    async def _flush_truth(self) -> None:
        while True:
            await asyncio.sleep(TRUTH_FLUSH_INTERVAL_S)
            self._truth.flush()

    async def _scheduled_restarts(self) -> None:
        restarts = [fault for fault in self.options.faults if fault.kind == "restart"]
        for fault in sorted(restarts, key=lambda each: each.share):
            await asyncio.sleep(max(0.0, self._started + fault.share - self.clock()))
            self.restart(fault)


def _exit_on_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        # A simulator that has stopped stepping would look like a server that hangs, so exit instead.
        print(f"simulator: {type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the process is about to exit
        os._exit(1)
