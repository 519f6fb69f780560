"""Users of a workload against a server, with a plain HTTP client instead of Locust: the same requests and pauses."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any

import aiohttp

from probe_ext.access.kind_prompts import KindPrompts, KindUser
from probe_ext.client.api.openai_api import PATHS
from probe_ext.prompts.length_model import measured_model
from probe_ext.prompts.phrases import phrases_of
from probe_ext.settings.options import Options
from probe_ext.sim.tokenizer import encode_chat
from probe_ext.workload.workload_file import Workload


@dataclass(frozen=True, slots=True)
class Heard:
    """What a conversation keeps of a reply."""

    text: str
    tokens_in: int | None
    tokens_out: int | None


def prepared(seed: int) -> dict[str, Any]:
    """Return prompt lengths as the simulated server counts them."""
    lengths = measured_model(lambda text: len(encode_chat([("user", text)])), "tokenize", phrases_of(seed))
    model = {**asdict(lengths), "measured": dict(lengths.measured), "vocabulary": list(lengths.vocabulary)}
    return {"seed": seed, "length_model": model}


def mix(workload: Workload, users: int) -> Iterator[int]:
    """Yield the kind of each user, so that numbers are as close to the shares as they can be."""
    shares = [workload.shares[kind.name] or 0.0 for kind in workload.kinds]
    numbers = [0] * len(shares)
    for n in range(1, users + 1):
        due = max(range(len(shares)), key=lambda k: shares[k] * n - numbers[k])
        numbers[due] += 1
        yield due


async def drive(url: str, workload: Workload, users: int, seconds: float, *, seed: int, model: str) -> None:
    """Let users ask for some seconds; requests in flight then are finished."""
    lengths, options = prepared(seed), Options(ignore_eos=True)
    makers = [KindPrompts(kind, n, lengths, options, None) for n, kind in enumerate(workload.kinds)]
    stop = asyncio.get_running_loop().time() + seconds
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(
            *(_user(session, url, makers[k], n, stop, model) for n, k in enumerate(mix(workload, users)))
        )


async def _user(
    session: aiohttp.ClientSession, url: str, maker: KindPrompts, number: int, stop: float, model: str
) -> None:
    """Ask and pause as users of a run do: one pause after each reply, the last of a conversation included."""
    loop, user = asyncio.get_running_loop(), maker.user(number)

    async def pause() -> bool:
        await asyncio.sleep(max(0.0, min(user.pause(), stop - loop.time())))
        return loop.time() < stop

    user.joins = True
    while await pause():
        talk = user.begin()
        for turn in count():
            ask = talk.ask()
            if ask is None:
                break
            if turn and not await pause():
                return
            talk.answered(await _ask(session, url, user, ask, model))


async def _ask(session: aiohttp.ClientSession, url: str, user: KindUser, ask: Any, model: str) -> Heard:
    api, streamed = user.maker.kind.api or "chat", ask.streamed is not False
    body = {"model": model, "ignore_eos": True, "stream": streamed, **ask.parameters}
    body |= {"prompt": ask.prompt.text} if api == "completion" else {"messages": ask.prompt.messages}
    if streamed:
        body["stream_options"] = {"include_usage": True}
    async with session.post(url + PATHS[api], json=body) as response:
        raw = await response.text()
    return heard(raw)


def heard(raw: str) -> Heard:
    """Return text and counts of a reply of the simulated server, streamed or not."""
    text, usage = "", {}
    lines = [line[6:] for line in raw.splitlines() if line.startswith("data: {")] or [raw]
    for line in lines:
        with suppress(json.JSONDecodeError):
            content = json.loads(line)
            usage = content.get("usage") or usage
            for choice in content.get("choices", []):
                part = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
                text += part.get("content") or ""
    return Heard(text, usage.get("prompt_tokens"), usage.get("completion_tokens"))
