"""Wake the server up before a run: 1, 2, 4, … requests at once; what is paid only once is then paid before it counts.

Servers compile or capture something the first time that so many requests are in the batch (vLLM's CUDA graphs); the
users of a run must not pay for it, and what it cost is worth knowing. Asked by the master, or a lone Locust, through
the client that measures, before any user exists: none of it reaches the run's tables or Locust's. Prompts are short,
begin like no other of the run, and take nothing from a shared prefix: the run's prefix is as cold as it was.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import gevent
from locust.env import Environment

from probe_ext.client.exchange import Exchange
from probe_ext.client.openai_api import CHAT_PATH, COMPLETION_PATH, PATHS
from probe_ext.measure import clock
from probe_ext.prompts.composer import TooShortError
from probe_ext.prompts.prompt import Prompt
from probe_ext.settings.options import Options
from probe_ext.swarm.master.target_probe import Preparation
from probe_ext.swarm.users.endpoint import Door
from probe_ext.swarm.users.prompt_source import Prompts
from probe_ext.verdict.values.plurals import things

MOST = 64
"""requests at once where nothing else is asked for: the largest batch of the usual warm-up ladder"""
SEARCHING = 8
"""the same before a search, which does not know yet how many are to come, on a server that may answer one by one"""
_PROMPT_TOKENS = 200
_REPLY_TOKENS = 16
"""prompts and replies at most so long: what is paid once depends on the batch, not on them"""
_NOBODY = (1 << 30) - 1
"""a user number that no worker gives, so that no prompt of the run begins like one of these"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Round:
    """So many requests at once. Seconds."""

    requests: int
    seconds: float
    slowest_reply: float
    failed: int


def ladder(most: int) -> list[int]:
    """1, 2, 4, … and `most` itself."""
    steps = [1 << power for power in range(max(0, most).bit_length()) if 1 << power < most]
    return [*steps, most] if most > 0 else []


def how_many(environment: Environment, options: Options) -> int:
    """Requests at once of the largest round: as asked, else the most users that are to come, up to MOST."""
    if options.warm_up is not None:
        return options.warm_up
    fixed = sum(getattr(user, "fixed_count", 0) for user in environment.user_classes)
    if options.search:
        return min(SEARCHING, options.max_users)
    asked = max(options.levels) if options.levels else environment.parsed_options.num_users
    return min(MOST, asked or max(1, fixed))


def warm_up(
    environment: Environment, options: Options, made: Preparation, tell: Callable[[str], None] = lambda _: None
) -> dict[str, Any] | None:
    """Do it. What it cost, for the manifest; None where it is switched off, or no reply can be expected.

    `tell` hears of each round as it begins: a cold server may take minutes for one.
    """
    most = how_many(environment, options)
    if not most or made.problem is not None:
        return None
    door = Door(made.host, options, made.model or "")
    rounds = _climb(ladder(most), door, _prompts(options, made), options, tell)
    seconds, slowest = sum(r.seconds for r in rounds), max(r.slowest_reply for r in rounds)
    logger.info("probe: warmed up with up to %d requests at once: %.1f s, slowest reply %.1f s", most, seconds, slowest)
    return {"most": most, "seconds": seconds, "slowest_reply": slowest, "rounds": [asdict(r) for r in rounds]}


def _prompts(options: Options, made: Preparation) -> Prompts:
    """Short ones, unless the chat template alone is longer than that."""
    short = replace(options, input_tokens=min(options.input_tokens, _PROMPT_TOKENS), shared_prefix_tokens=0)
    try:
        return Prompts(made.prompts, short, _NOBODY)
    except TooShortError:
        return Prompts(made.prompts, replace(options, shared_prefix_tokens=0), _NOBODY)


def _climb(
    steps: list[int], door: Door, prompts: Prompts, options: Options, tell: Callable[[str], None]
) -> list[Round]:
    """Round by round; a round without any answer is the last."""
    rounds: list[Round] = []
    for requests in steps:
        tell(f"warming the server up: {things(requests, 'request')} at once, of up to {steps[-1]}")
        began = clock.monotonic()
        asking = [gevent.spawn(_ask, door, prompts.next(), options) for _ in range(requests)]
        try:
            gevent.joinall(asking, raise_error=True)
        finally:
            gevent.killall(asking)
        took: list[tuple[float, bool]] = [one.get() for one in asking]
        failed = sum(1 for _, fine in took if not fine)
        slowest = max(seconds for seconds, _ in took)
        rounds.append(Round(requests, clock.monotonic() - began, slowest, failed))
        if failed == requests:
            break
    return rounds


def _ask(door: Door, prompt: Prompt, options: Options) -> tuple[float, bool]:
    """One request: how long it took in seconds, and whether an answer came."""
    path, said = (
        (COMPLETION_PATH, prompt.text)
        if options.api == "completion" and prompt.text is not None
        else (CHAT_PATH if options.api == "completion" else PATHS[options.api], prompt.messages)
    )
    streamed = not options.no_stream
    request = door.request(path, said, streamed, {"max_tokens": min(options.max_tokens, _REPLY_TOKENS)})
    connection = door.connection()
    began = clock.monotonic()
    conversation = Exchange(connection, request, door.limits, due=began, streamed=streamed, secret=door.key)
    try:
        conversation.run()
    finally:
        reply = conversation.finish()
        connection.close()
    # Thoughts that the short limit cut off are an answer here: the server has worked.
    return clock.monotonic() - began, reply.ok or reply.pace is not None
