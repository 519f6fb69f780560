"""Before a run, send requests one at a time: find the form that the server accepts, and notice if it answers none.

The requests are as long as the run's, so that a context or a body that is too long shows now. Each is ended at its
first token, and given up after --timeout-connect: the rest would only cost time. Nothing else loads the server
meanwhile, so what fails here fails for a reason that no load made.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from probe_ext.client.api.negotiation import NEGOTIABLE_FIELDS, Negotiated, TrialReply, negotiate
from probe_ext.client.api.openai_api import COMPLETION_PATH, chat_path
from probe_ext.client.api.request_form import RequestForm
from probe_ext.client.exchange import Exchange, Limits
from probe_ext.client.reply import Reply
from probe_ext.measure import clock
from probe_ext.measure.outcome import CLIENT_SIDE, Outcome
from probe_ext.prompts.prompt import Prompt
from probe_ext.settings.options import Options
from probe_ext.swarm.users.endpoint import Endpoint, Payload
from probe_ext.verdict.checks.failure_causes import Failure

TRIES = 3
PAUSE_S = 0.5  # between tries


@dataclass(frozen=True)
class Trial:
    """What came of the requests before a run."""

    negotiated: Negotiated
    failure: Failure | None = None
    """why no request was answered, if all failed alike; None: the server can be measured"""
    tries: int = 1


def try_server(
    host: str, model: str, options: Options, next_prompt: Callable[[], Prompt], sleep: Callable[[float], None]
) -> Trial:
    """Send requests until one is answered, at most TRIES times."""
    asked = form = RequestForm(options.usage)
    refusals: list[str] = []
    failures: list[Failure] = []
    for number in range(1, TRIES + 1):
        replies: list[Reply] = []

        def send(form: RequestForm, replies: list[Reply] = replies) -> TrialReply:
            endpoint = Endpoint(host, options, model, form)
            replies.append(send_one(endpoint, next_prompt(), options, {}, until_first=True))
            return _trial_reply(replies[-1])

        negotiated = negotiate(form, send, _fields_sent(options))
        form = negotiated.form
        refusals += negotiated.refusals
        negotiated = Negotiated(asked, form, tuple(refusals), negotiated.reply)
        failure = _failure(replies[-1])
        if failure is None:
            return Trial(negotiated, None, number)
        failures.append(failure)
        if number < TRIES:
            sleep(PAUSE_S)
    alike = len({failure.kind for failure in failures}) == 1
    return Trial(negotiated, failures[-1] if alike else None, TRIES)


def _fields_sent(options: Options) -> Collection[str]:
    """Return the fields that options put into requests, and that can be given up."""
    return [name for name in NEGOTIABLE_FIELDS if getattr(options, name) not in (None, False)]


def send_one(
    endpoint: Endpoint, prompt: Prompt, options: Options, parameters: dict[str, Any], *, until_first: bool = False
) -> Reply:
    """Send one request on a connection of its own, and return its reply; `until_first`: end it at its first token."""
    completion = options.api == "completion" and prompt.text is not None
    path = COMPLETION_PATH if completion else chat_path(options.api)
    payload: Payload = prompt.text if completion and prompt.text is not None else prompt.messages
    streamed = not options.no_stream
    request = endpoint.request(path, payload, streamed, parameters)
    connection = endpoint.connection()
    exchange = Exchange(
        connection,
        request,
        _shorter(endpoint.limits) if until_first else endpoint.limits,
        due=clock.monotonic(),
        streamed=streamed,
        secret=endpoint.secrets,
        choices=endpoint.choices(parameters),
        until_first=until_first,
    )
    try:
        exchange.run()
    finally:
        reply = exchange.finish()
        connection.close()
    return reply


def _shorter(limits: Limits) -> Limits:
    """Return limits under which a first request waits no longer than for a connection: refusals come at once."""
    return replace(limits, first=min(limits.first, limits.connect), total=min(limits.total, limits.connect))


def is_answered(reply: Reply) -> bool:
    """Whether the server did its work; reasoning that a short limit cut off counts too."""
    return reply.ok or reply.pace is not None or reply.outcome is Outcome.NO_ANSWER


def _trial_reply(reply: Reply) -> TrialReply:
    words = reply.message or ""
    return TrialReply(is_answered(reply), reply.status, reply.error_text or words, words)


def _failure(reply: Reply) -> Failure | None:
    """Return why a request was not answered; None if it was, if it only took too long, or if the fault is ours."""
    if is_answered(reply) or reply.outcome in CLIENT_SIDE:
        return None
    failure = Failure(reply.outcome.value, reply.status, reply.message or "", reply.finish_reason or "")
    return None if failure.is_slow else failure
