"""Every way a reply can end.

Each started reply gets exactly one outcome, so the outcomes add up to the number of started replies.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """How a reply ended. The values appear in `requests.csv` and are part of the run directory's format."""

    COMPLETE = "complete"
    """Finished by the model (`stop`, `length`, `tool_calls` or `function_call`) with text."""
    NO_ANSWER = "no_answer"
    """Finished with reasoning only, without a visible token."""
    EMPTY = "empty"
    """Finished normally without a token."""
    TRUNCATED = "truncated"
    """The stream ended normally, but without a finish reason."""
    FILTERED = "filtered"
    """The server withheld the answer (`content_filter`, or a refusal)."""
    REJECTED = "rejected"
    """The server was too busy (429 or 503, as HTTP status or inside the stream)."""
    HTTP_ERROR = "http_error"
    """Any other HTTP status outside 2xx."""
    STREAM_ERROR = "stream_error"
    """An error event inside a stream that began with HTTP 200."""
    BAD_DATA = "bad_data"
    """The response was invalid HTTP, SSE or JSON, or exceeded a size limit."""
    CUT = "cut"
    """The connection closed in mid-reply."""
    STALLED = "stalled"
    """No further token within the timeout between tokens."""
    TIMEOUT_FIRST = "timeout_first"
    """No first token within its timeout. Replies that are not streamed have only the total timeout."""
    TIMEOUT_TOTAL = "timeout_total"
    """Not finished within the timeout for the whole reply."""
    CONNECT_FAILED = "connect_failed"
    """Name resolution, TCP connection or TLS handshake failed."""
    CONNECT_TIMEOUT = "connect_timeout"
    """TCP connection or TLS handshake did not finish within its timeout."""
    NOT_SENT = "not_sent"
    """An arrival of an open stream found no free connection in time, as the replies before it took too long."""
    HUNG_UP = "hung_up"
    """The simulated user lost patience and hung up."""
    ENDED_BY_US = "ended_by_us"
    """The run or the user was stopped in mid-reply."""
    CLIENT_ERROR = "client_error"
    """The load generator failed: out of file descriptors, invalid request, internal error."""


FINISHED = frozenset({Outcome.COMPLETE, Outcome.NO_ANSWER, Outcome.EMPTY, Outcome.FILTERED})
"""The server ended its reply normally."""

CLIENT_SIDE = frozenset({Outcome.ENDED_BY_US, Outcome.CLIENT_ERROR})
"""Not caused by the server."""


def is_failure(outcome: Outcome) -> bool:
    """Return whether Locust counts this reply as failed."""
    return outcome not in {Outcome.COMPLETE, Outcome.ENDED_BY_US}
