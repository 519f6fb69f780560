"""Find the request form that a server accepts: try, give up the one field that it refuses by name, try again.

Knows no network: the caller sends each form, and says what came back.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from probe_ext.client.api.request_form import RequestForm, poorer_form

NEGOTIABLE_FIELDS = ("temperature", "top_p", "ignore_eos")
"""Fields that options set and that a request can do without."""
_MAX_FORMS = 12
"""More than there are fields to give up."""


@dataclass(frozen=True, slots=True)
class TrialReply:
    """What came of one request."""

    answered: bool
    status: int | None = None
    """HTTP status; 200 for an error inside a stream"""
    error_text: str = ""
    """the server's own words, as completely as known"""
    words: str = ""
    """the same for people, in one line; default: `error_text`"""


@dataclass(frozen=True, slots=True)
class Negotiated:
    """The form that was tried last, and what came of it."""

    asked: RequestForm
    form: RequestForm
    refusals: tuple[str, ...]
    """what the server said of each field that was given up, in this order"""
    reply: TrialReply
    """of the last form: not answered where the server refuses something that no other form fixes"""

    def as_dict(self) -> dict[str, Any]:
        """Return plain types for `run.json`."""
        return {"asked": self.asked.as_dict(), "used": self.form.as_dict(), "refusals": list(self.refusals)}

    @property
    def losses(self) -> list[str]:
        """Say what is lost against the form that was asked for, one sentence per field."""
        return self.form.losses(self.asked)


def negotiate(
    asked: RequestForm, send: Callable[[RequestForm], TrialReply], fields: Collection[str] = NEGOTIABLE_FIELDS
) -> Negotiated:
    """Send forms, each poorer by one field, until one is answered or refused for another reason.

    `fields`: those of NEGOTIABLE_FIELDS that the request really has. A refusal that names any other field, as one of
    the user's own, ends the negotiation.
    """
    form, refusals = asked, list[str]()
    reply = send(form)
    while not reply.answered and len(refusals) < _MAX_FORMS:
        poorer = poorer_form(form, reply.status, reply.error_text)
        if poorer is None or not (poorer.left_out - form.left_out) <= set(fields):
            break
        refusals.append(reply.words or reply.error_text)
        form = poorer
        reply = send(form)
    return Negotiated(asked, form, tuple(refusals), reply)
