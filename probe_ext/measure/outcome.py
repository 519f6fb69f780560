"""Every way in which a reply can end.

Exactly one member is recorded for each reply that was started, so `started = sum over outcomes` holds.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """How a reply ended. The values stand in `requests.csv` and are part of the run directory's contract."""

    COMPLETE = "complete"
    """The model's own end: `stop`, `length`, `tool_calls` or `function_call`, with text."""
    NO_ANSWER = "no_answer"
    """Thought, and finished, without one visible token (reasoning only)."""
    EMPTY = "empty"
    """Finished in order, without a single token."""
    TRUNCATED = "truncated"
    """The stream ended in order but no finish reason came."""
    FILTERED = "filtered"
    """The server withheld the answer (`content_filter`, or a refusal)."""
    REJECTED = "rejected"
    """The server said it was too busy (HTTP 429 or 503, before or inside the stream)."""
    HTTP_ERROR = "http_error"
    """Any other HTTP status than 2xx."""
    STREAM_ERROR = "stream_error"
    """An error event inside a stream that had begun with HTTP 200."""
    BAD_DATA = "bad_data"
    """What came was no HTTP, no event stream, no JSON, or beyond the size limit."""
    CUT = "cut"
    """The connection ended in mid-reply."""
    STALLED = "stalled"
    """No token for longer than the timeout between tokens."""
    TIMEOUT_FIRST = "timeout_first"
    """No first token (no answer at all, when not streaming) within its timeout."""
    TIMEOUT_TOTAL = "timeout_total"
    """Still running at the limit for the whole reply."""
    CONNECT_FAILED = "connect_failed"
    """Name resolution, TCP or TLS set-up failed."""
    CONNECT_TIMEOUT = "connect_timeout"
    """TCP or TLS set-up did not finish within its timeout."""
    HUNG_UP = "hung_up"
    """A simulated user lost patience and hung up."""
    ENDED_BY_US = "ended_by_us"
    """The run stopped, or this user was taken away, in mid-reply."""
    CLIENT_ERROR = "client_error"
    """Our own fault: out of file descriptors, a request that could not be built, a defect."""


FINISHED = frozenset({Outcome.COMPLETE, Outcome.NO_ANSWER, Outcome.EMPTY, Outcome.FILTERED})
"""The server brought its reply to an end of its own choosing."""

OURS = frozenset({Outcome.ENDED_BY_US, Outcome.CLIENT_ERROR})
"""Endings that say nothing against the server."""


def is_failure(outcome: Outcome) -> bool:
    """Whether Locust should count this reply as failed."""
    return outcome not in {Outcome.COMPLETE, Outcome.ENDED_BY_US}
