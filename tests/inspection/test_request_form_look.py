"""Fields that a server refuses, as a doctor sees them."""

from look_helpers import reply

from probe_ext.access.agreed_form import agree
from probe_ext.access.sender import Answered
from probe_ext.client.api.request_form import RequestForm
from probe_ext.inspection.check_result import Status
from probe_ext.inspection.replies.refused_fields import request_form
from probe_ext.measure.outcome import Outcome
from probe_ext.settings.options import read_options

OPTIONS = read_options({})


def refusing(form: RequestForm) -> Answered:
    if form.usage == "continuous":
        said = "HTTP 400: Unknown parameter: 'stream_options.continuous_usage_stats'"
        return reply(outcome=Outcome.HTTP_ERROR, status=400, message=said, error_text=said, text="")
    return reply(1.0, 2.0)


def test_what_is_accepted_and_what_is_given_up() -> None:
    assert request_form(agree(RequestForm(), lambda _: reply(1.0, 2.0), OPTIONS)).status is Status.OK
    negotiated = agree(RequestForm(), refusing, OPTIONS)
    finding = request_form(negotiated)
    assert (finding.status, negotiated.form.usage) == (Status.OK, "final")
    assert "continuous_usage_stats" in finding.evidence


def test_a_server_that_answers_nothing_is_unknown() -> None:
    failing = reply(outcome=Outcome.HTTP_ERROR, status=500, message="HTTP 500", text="")
    assert request_form(agree(RequestForm(), lambda _: failing, OPTIONS)).status is Status.UNKNOWN
