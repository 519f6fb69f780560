"""Warm the server up before a run: 1, 2, 4, … requests at once, so that one-time costs are paid before measuring.

Servers compile or capture something the first time that a batch has a certain size (vLLM's CUDA graphs). The master or
the single-process Locust sends these requests through the measuring client before any user exists, so none of them is
in the run's tables or Locust's. Prompts are short, start like no prompt of the run, and do not use the shared prefix:
the prefix cache stays cold for the run.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gevent
from locust.env import Environment

from probe_ext.access.endpoint import Endpoint
from probe_ext.access.prompt_source import Prompts
from probe_ext.access.sender import Answered, Question, Sender
from probe_ext.inspection.warmup.rounds import Round, round_in_words, round_sizes, send_round
from probe_ext.prompts.composer import TooShortError
from probe_ext.settings.options import Options
from probe_ext.swarm.preparation.stream_plan import rates_of
from probe_ext.swarm.preparation.target_probe import Preparation
from probe_ext.swarm.preparation.trial import Trial, try_server

MAX_REQUESTS = 64  # at once by default; the largest batch that servers usually capture
RATE_WARM_UP_S = 4.0  # of the highest rate arrive together in the last round: about as many as are in flight later
MAX_REQUESTS_BEFORE_SEARCH = 8  # likewise: the number of users is unknown, and the server may answer one by one
_MAX_PROMPT_TOKENS = 200
MAX_REPLY_TOKENS = 16
_WARM_UP_USER = (1 << 30) - 1  # a user number that no worker assigns: no prompt of the run starts alike
_TRIAL_USER = _WARM_UP_USER - 1

logger = logging.getLogger(__name__)


def largest_round(environment: Environment, options: Options) -> int:
    """Return the size of the last round: as configured, else the largest number of users, with an upper bound."""
    if options.warm_up is not None:
        return options.warm_up
    fixed = sum(getattr(user, "fixed_count", 0) for user in environment.user_classes)
    if options.search:
        return min(MAX_REQUESTS_BEFORE_SEARCH, options.max_users)
    if rates := rates_of(getattr(environment.shape_class, "plan", None)):
        return min(MAX_REQUESTS, options.max_in_flight, max(1, round(max(rates).per_second * RATE_WARM_UP_S)))
    users = max(options.levels) if options.levels else environment.parsed_options.num_users
    return min(MAX_REQUESTS, users or max(1, fixed))


def first_requests(
    options: Options, preparation: Preparation, tell: Callable[[str], None] = lambda _: None
) -> Trial | None:
    """Ask the server for single replies, with prompts as long as the run's; None if no reply can be expected."""
    if preparation.problem is not None:
        return None
    tell("asking the server for a first reply")
    prompts = Prompts(preparation.prompts, replace(options, shared_prefix_tokens=0), _TRIAL_USER)
    return try_server(preparation.host, preparation.model or "", options, prompts.next, gevent.sleep)


def warm_up(
    environment: Environment,
    options: Options,
    preparation: Preparation,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Any] | None, Answered | None]:
    """Warm up, and return the manifest's `warm_up` and the first reply; None if it is off or no reply can be expected.

    `tell` is called at the start of each round: on a cold server one may take minutes.
    """
    largest = largest_round(environment, options)
    if not largest or preparation.problem is not None:
        return None, None
    form = preparation.negotiation.form if preparation.negotiation else None
    sender = Sender(Endpoint(preparation.host, options, preparation.model or "", form), options.api)
    rounds = _run_rounds(round_sizes(largest), sender, short_prompts(options, preparation), options, tell)
    seconds, slowest = sum(r.seconds for r in rounds), max(r.slowest_reply for r in rounds)
    logger.info("probe: warm-up: up to %d requests at once, %.1f s, slowest reply %.1f s", largest, seconds, slowest)
    cost = {"most": largest, "seconds": seconds, "slowest_reply": slowest, "rounds": [_of_manifest(r) for r in rounds]}
    return cost, next(iter(rounds[0].replies), None)


def short_prompts(options: Options, preparation: Preparation) -> Prompts:
    """Return short prompts, unless the chat template alone is longer."""
    tokens = min(options.input_tokens, _MAX_PROMPT_TOKENS)
    try:
        short = replace(options, input_tokens=tokens, shared_prefix_tokens=0)
        return Prompts(preparation.prompts, short, _WARM_UP_USER)
    except TooShortError:
        return Prompts(preparation.prompts, replace(options, shared_prefix_tokens=0), _WARM_UP_USER)


def _run_rounds(
    sizes: list[int], sender: Sender, prompts: Prompts, options: Options, tell: Callable[[str], None]
) -> list[Round]:
    """Stop after a round in which every request failed."""
    rounds: list[Round] = []
    max_tokens = min(options.max_tokens, MAX_REPLY_TOKENS)
    for requests in sizes:
        tell(f"warming up the server: {round_in_words(requests, sizes[-1])}")
        questions = [Question(prompts.next(), max_tokens, not options.no_stream) for _ in range(requests)]
        rounds.append(send_round(sender, questions))
        if rounds[-1].failed == requests:
            break
    return rounds


def _of_manifest(one: Round) -> dict[str, Any]:
    return {
        "requests": one.requests,
        "seconds": one.seconds,
        "slowest_reply": one.slowest_reply,
        "failed": one.failed,
    }
