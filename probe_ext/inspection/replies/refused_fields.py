"""Which fields of a request does the server refuse, and what is lost without them?"""

from probe_ext.client.api.negotiation import Negotiated
from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.verdict.phrasing.plurals import listed


def request_form(negotiated: Negotiated) -> CheckResult:
    """Say which fields were given up."""
    if not negotiated.reply.answered:
        return CheckResult("request_form", Status.UNKNOWN, "No request was answered in any form.")
    if not negotiated.losses:
        return CheckResult("request_form", Status.OK, "All fields that a run sends are accepted.")
    said = listed([f"“{text}”" for text in dict.fromkeys(negotiated.refusals)])
    evidence = f"{' '.join(negotiated.losses)} It says: {said}."
    return CheckResult("request_form", Status.OK, f"{evidence} A run leaves them out by itself.")
