"""Record an arrival that no request was made for: a row like any other, and a failure in Locust's statistics."""

from locust.env import Environment

from probe_ext.client.reply import Reply
from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.measure.timeline import Marks
from probe_ext.swarm.users import events
from probe_ext.swarm.users.llm import REPLY, ReplyFailedError
from probe_ext.swarm.users.recorder import Recorder, RequestInfo


def record_unsent(
    environment: Environment,
    recorder: Recorder,
    info: RequestInfo,
    due: float,
    number: int,
    ending: tuple[Outcome, str],
) -> None:
    """Add the row of an arrival that was due at `due` (monotonic seconds) and ends now."""
    outcome, why = ending
    now = clock.monotonic()
    reply = Reply(Marks(due=due, end=now), streamed=True, outcome=outcome, message=why)
    row = recorder.end(None, reply, info, number)
    if is_failure(outcome):
        environment.events.request.fire(
            request_type=REPLY,
            name=info.scenario,
            response_time=1000 * (now - due),
            response_length=0,
            exception=ReplyFailedError(row.outcome, why),
            context={"reply": reply, "row": row},
            response=None,
            url="",
        )
    events.reply.fire(reply=reply, row=row)
