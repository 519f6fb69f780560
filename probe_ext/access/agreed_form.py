"""Agree with a server on a request form: each field that it refuses by name is left out, until it answers."""

from collections.abc import Callable, Collection

from probe_ext.access.sender import Answered, is_answered
from probe_ext.client.api.negotiation import NEGOTIABLE_FIELDS, Negotiated, TrialReply, negotiate
from probe_ext.client.api.request_form import RequestForm
from probe_ext.settings.options import Options


def agree(asked: RequestForm, send: Callable[[RequestForm], Answered], options: Options) -> Negotiated:
    """Send requests, each without the field that the server refused before, until one is answered."""

    def try_form(form: RequestForm) -> TrialReply:
        reply = send(form)
        words = reply.message or ""
        return TrialReply(is_answered(reply), reply.status, reply.error_text or words, words)

    return negotiate(asked, try_form, _fields_sent(options))


def _fields_sent(options: Options) -> Collection[str]:
    """Return the fields that options put into requests, and that can be given up."""
    return [name for name in NEGOTIABLE_FIELDS if getattr(options, name) not in (None, False)]
