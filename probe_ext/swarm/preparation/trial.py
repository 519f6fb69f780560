"""Before a run, send requests one at a time: find the form that the server accepts, and notice if it answers none.

The requests are as long as the run's, so that a context or a body that is too long shows now. Each is ended at its
first token, and given up after --timeout-connect: the rest would only cost time. Nothing else loads the server
meanwhile, so what fails here fails for a reason unrelated to load.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from probe_ext.access.agreed_form import agree
from probe_ext.access.endpoint import Endpoint
from probe_ext.access.sender import Answered, Question, Sender, is_answered
from probe_ext.client.api.negotiation import Negotiated
from probe_ext.client.api.request_form import RequestForm
from probe_ext.client.exchange import Limits
from probe_ext.measure.outcome import CLIENT_SIDE
from probe_ext.prompts.prompt import Prompt
from probe_ext.settings.options import Options
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
        replies: list[Answered] = []

        def send(form: RequestForm, replies: list[Answered] = replies) -> Answered:
            endpoint = Endpoint(host, options, model, form)
            sender = Sender(endpoint, options.api, limits=_shorter(endpoint.limits))
            question = Question(next_prompt(), options.max_tokens, not options.no_stream, hang_up_after=1)
            replies.append(sender.ask(question, fresh=True))
            return replies[-1]

        negotiated = agree(form, send, options)
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


def _shorter(limits: Limits) -> Limits:
    """Return limits under which a first request waits no longer than for a connection: refusals come at once."""
    return replace(limits, first=min(limits.first, limits.connect), total=min(limits.total, limits.connect))


def _failure(reply: Answered) -> Failure | None:
    """Return why a request was not answered; None if it was, if it only took too long, or if the fault is ours."""
    if is_answered(reply) or reply.outcome in CLIENT_SIDE:
        return None
    failure = Failure(reply.outcome.value, reply.status, reply.message or "", reply.finish_reason or "")
    return None if failure.is_slow else failure
