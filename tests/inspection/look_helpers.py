"""Build what the checks look at: a subject on a running server, and replies with given times."""

from types import MappingProxyType
from typing import Any

from probe_ext.access.sender import Answered
from probe_ext.inspection.doctor.examine import subject_of, take_samples
from probe_ext.inspection.planned_run import planned_run
from probe_ext.inspection.subject import Subject
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.timeline import TokenEvents, pace
from probe_ext.settings.options import read_options


def subject_on(url: str, **given: str) -> Subject:
    """Return a subject with its samples."""
    options = read_options(given)
    subject = subject_of(url, options, planned_run(options))
    subject.read_first()
    take_samples(subject)
    return subject


def reply(*at: float, **changes: Any) -> Answered:
    """Return a complete streamed reply whose token events arrived at these times, one token each."""
    events = TokenEvents(list(at), [1] * len(at), [True] * len(at))
    values: dict[str, Any] = {
        "outcome": Outcome.COMPLETE,
        "message": None,
        "error_text": None,
        "status": 200,
        "headers": {},
        "sent": 0.0,
        "headers_at": 0.0,
        "end": at[-1] if at else 1.0,
        "resolve": None,
        "connect": 0.001,
        "tls": None,
        "reused": False,
        "kept": True,
        "streamed": True,
        "at": tuple(at),
        "event_tokens": (1,) * len(at),
        "visible": (True,) * len(at),
        "pace": pace(events),
        "text": "word " * len(at),
        "reasoning": "",
        "finish_reason": "length",
        "tokens_in": 60,
        "tokens_cached": None,
        "tokens_out": len(at),
        "tokens_from": "usage",
        "reads": len(at),
        "stamped": True,
        "lags": (0.0001,) * len(at),
        "delivery": "stream",
        "via": None,
        **changes,
    }
    values["headers"] = MappingProxyType(values["headers"])
    return Answered(**values)
