"""Helpers of the simulator's tests: a tiny profile, runs on virtual time, and a server on loopback."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from probe_ext.sim.api.app import Server
from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.engine.step_types import Finished, Request, Step
from probe_ext.sim.profile import Profile, load_profile
from probe_ext.sim.serving.backend import ServerOptions

BLOCK = 4


def tiny(blocks: int = 40, **changes: Any) -> Profile:
    """A profile with ``blocks`` usable blocks of four tokens; a step takes about 11 ms."""
    base = replace(load_profile("demo"), name="tiny", model="tiny", block_size=BLOCK, max_model_len=blocks * BLOCK,
                   max_num_seqs=16, max_num_batched_tokens=64, frontend_s=0.0, memory_bandwidth=2.0e11)  # fmt: skip
    changed = replace(base, **changes)
    return replace(changed, kv_pool_bytes=(blocks + 1) * changed.block_size * changed.kv_bytes_per_token)


def make_request(
    number: int, arrival: float = 0.0, prompt: int = 8, reply: int = 5, salt: int | None = None
) -> Request:
    """Build a request with a unique prompt, or one shared by all requests with the same ``salt``."""
    base = 1000 * (number if salt is None else salt)
    return Request(number, arrival, tuple(range(base, base + prompt)), tuple(range(7_000_000, 7_000_000 + reply)))


@dataclass
class SimulatedRun:
    """The steps of a run on virtual time."""

    engine: Engine
    steps: list[Step] = field(default_factory=list)

    @property
    def tokens(self) -> dict[int, list[int]]:
        """Positions of each request's tokens, in order of generation."""
        positions: dict[int, list[int]] = {}
        for step in self.steps:
            for output in step.outputs:
                positions.setdefault(output.request_id, []).append(output.position)
        return positions

    @property
    def finished(self) -> dict[int, Finished]:
        """Figures of each finished request."""
        return {done.request_id: done for step in self.steps for done in step.finished}

    @property
    def preempted(self) -> list[int]:
        """Ids of preempted requests, in order."""
        return [number for step in self.steps for number in step.preempted]


def simulate(profile: Profile, requests: Iterable[Request], cold: bool = False, limit: int = 20_000) -> SimulatedRun:
    """Run requests to completion on virtual time."""
    run = SimulatedRun(Engine(profile, cold=cold))
    for request in requests:
        run.engine.add(request)
    for _ in range(limit):
        step = run.engine.step()
        if step is None:
            return run
        run.steps.append(step)
    raise AssertionError(f"not finished after {limit} steps")


Scenario = Callable[[TestClient], Awaitable[None]]


def serve(scenario: Scenario, **options: Any) -> None:
    """Run a scenario against a server, by default ten times faster than its profile."""

    async def inside() -> None:
        chosen = {"profile": tiny(400), "speed": 10.0, **options}
        server = TestServer(Server(ServerOptions(**chosen)).application())
        async with TestClient(server) as client:
            await scenario(client)

    asyncio.run(asyncio.wait_for(inside(), 120))


def chat(text: str = "how are you", **more: Any) -> dict[str, Any]:
    """Build the body of a streamed chat request."""
    streaming = {"stream": True, "stream_options": {"include_usage": True}}
    return {"messages": [{"role": "user", "content": text}], "ignore_eos": True, "max_tokens": 6, **streaming, **more}


def events(raw: str) -> list[Any]:
    """Parse the events of a stream: JSON values, and "[DONE]"."""
    data = [line.removeprefix("data: ") for line in raw.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in data]


def event_texts(stream: list[Any]) -> list[str]:
    """Return the texts of all events that have a text field, except role-only events."""
    choices = [event["choices"][0] for event in stream if event != "[DONE]" and event.get("choices")]
    texts = [choice.get("text", choice.get("delta", {}).get("content")) for choice in choices]
    return [
        text
        for choice, text in zip(choices, texts, strict=True)
        if "role" not in choice.get("delta", {}) and text is not None
    ]


async def stream(client: TestClient, body: dict[str, Any], path: str = "/v1/chat/completions") -> list[Any]:
    """Send a request and return all events of the streamed reply."""
    response: ClientResponse = await client.post(path, json=body)
    assert response.status == 200, await response.text()
    return events(await response.text())


async def series(client: TestClient) -> dict[str, float]:
    """Scrape /metrics; return each series' value, summed over its labels."""
    text = await (await client.get("/metrics")).text()
    values: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            bare = name.split("{")[0]
            values[bare] = values.get(bare, 0.0) + float(value)
    return values
