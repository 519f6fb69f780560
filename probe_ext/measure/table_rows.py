"""The columns of all tables in a run directory.

Times are seconds: monotonic inside a process, relative to `started_at` on the master's clock in the run directory. None
means missing and is written as an empty field, never as zero.
"""

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, TypeVar

WARM_UP = "warm-up"
"""`scenario` of replies that are recorded but not judged"""
COLD, WARM = "cold", "warm"
"""`scenario` of replies to prompts with a unique beginning, and with a shared prefix"""
DELIVERIES = STREAM, ONE_EVENT, DOCUMENT, UNSTREAMED = ("stream", "one_event", "document", "unstreamed")
"""values of `delivery`: an event stream; a stream whose answer came in one event; one JSON document although a stream
was requested; one document as requested"""
MIN_RECORDED_GAP_S = 0.25
"""gaps at least this long have a row in gaps.csv"""


@dataclass(slots=True)  # a frozen one takes 7 µs to make instead of 0.6, and each reply makes three
class ReplyRow:
    """A started reply: a row of `requests.csv`."""

    reply_id: str
    """`<worker>:<n>`, unique in a run"""
    worker: str
    user: str
    """`<worker>:<k>`: one simulated user"""
    scenario: str
    kind: str
    """`chat`, `turn` (a chat with earlier replies) or `completion`"""
    streamed: bool
    due: float
    """when the user wanted to send"""
    late: float
    """the part of `sent − due` caused by the load generator; excludes waiting for the previous reply"""
    sent: float | None
    headers: float | None
    first: float | None
    """first token event; with several choices, of the latest"""
    first_visible: float | None
    """first token event outside reasoning"""
    last: float | None
    end: float
    tokens_in: int | None
    """prompt tokens, counted by the server"""
    tokens_cached: int | None
    """prompt tokens from the server's prefix cache"""
    tokens_out: int | None
    """completion tokens"""
    tokens_from: str | None
    """source of `tokens_out`: `usage`, `token_ids` or `events` (the server does not count, or contradicts the text)"""
    tokens_first: int | None
    """tokens that arrived together with the first"""
    tokens_visible: int | None
    """tokens outside reasoning"""
    events: int
    """number of token events"""
    events_visible: int
    choices: int
    tpot: float | None
    """seconds per token"""
    tpot_visible: float | None
    longest_gap: float | None
    gap_start: float | None
    longest_gap_visible: float | None
    outcome: str
    finish_reason: str | None
    status: int | None
    """HTTP status"""
    message: str | None
    """error message from server or system, short and printable"""
    connect: float | None
    tls: float | None
    lag_max: float | None
    """maximum seconds between the kernel's receipt of bytes and our read"""
    reads: int
    reads_unresolved: int
    """reads with several token events, whose gaps are therefore unknown"""
    deadlines: int | None = None
    """token deadlines by the run's profile, for the fluidity index (see `measure.fluidity`)"""
    deadlines_missed: int | None = None
    tokens_reasoning: int | None = None
    """of `tokens_out`, those that the server counts as reasoning"""
    gap_tokens: int | None = None
    """tokens that arrived together at the end of the longest gap: many where a parser or proxy held them back"""
    resolve: float | None = None
    """the part of `connect` that name resolution took"""
    server_ttft: float | None = None
    """seconds from arrival to the first token, as the server itself measured them for this reply"""
    server_queue: float | None = None
    """seconds until it was scheduled, likewise"""
    server_itl: float | None = None
    """mean seconds between tokens, likewise"""
    delivery: str | None = None
    """how the answer came: see DELIVERIES"""
    segments: int | None = None
    """TCP segments with data that the kernel received for this reply"""
    held_max: float | None = None
    """longest gap that ended in several token events at once: the first of them may have been held back as long"""
    tokens_held: int | None = None
    """tokens that arrived together with at least three others"""
    text_bytes: int | None = None
    """UTF-8 bytes of the text of all token events"""
    tokens_claimed: int | None = None
    """completion tokens by the server, where they contradict the text and are not used"""
    tokens_meant: int | None = None
    """length that the prompt was made for, in tokens"""
    via: str | None = None
    """software that the response's head names: server, proxies and gateways"""
    tokens_shared: int | None = None
    """of a replayed trace: tokens at the prompt's start that earlier requests of the trace began with, too"""


@dataclass(frozen=True, slots=True)
class GapRow:
    """A gap of at least MIN_RECORDED_GAP_S within a reply: a row of `gaps.csv`."""

    reply_id: str
    start: float
    end: float
    tokens_before: int
    tokens_together: int | None = None
    """tokens that arrived together at its end"""


@dataclass(frozen=True, slots=True)
class UserRow:
    """The number of users at one time, or the slots and the rate of an open stream: a row of `users.csv`."""

    t: float
    users: int
    target: int | None
    state: str
    """Locust's runner state: ready, spawning, running, cleanup, stopping, stopped"""
    rate: float | None = None
    """requests per second that an open stream asks for; missing where users wait for replies"""


@dataclass(frozen=True, slots=True)
class ServerRow:
    """A value of one server at one time: a row of `server.csv`."""

    t: float
    url: str
    engine: str
    """data-parallel engine, or `all` for a value over all engines"""
    quantity: str
    """canonical name, see docs/metrics.md"""
    value: float
    width: float | None = None
    """seconds that the call took; `t` is its middle"""


@dataclass(frozen=True, slots=True)
class GpuRow:
    """A value of one GPU at one time: a row of `gpu.csv`."""

    t: float
    url: str
    gpu: str
    """as the exporter names it: a number or a UUID"""
    quantity: str
    """canonical name, see docs/metrics.md"""
    value: float


DEADLINE_COLUMNS = frozenset({"deadlines", "deadlines_missed"})
"""columns that hold for one SLO profile only"""
_SERVER_TIMES = ("server_ttft", "server_queue", "server_itl")
OPTIONAL_COLUMNS = DEADLINE_COLUMNS | {
    *("tokens_reasoning", "gap_tokens", "resolve", "delivery", "segments", "held_max", "tokens_held", "text_bytes"),
    *("tokens_claimed", "tokens_meant", "tokens_shared", "via", "tokens_together", "width", "rate", *_SERVER_TIMES),
}
"""columns that runs of earlier versions lack"""

Row = ReplyRow | GapRow | UserRow | ServerRow | GpuRow

REPLY_MARKS = ("due", "sent", "headers", "first", "first_visible", "last", "end", "gap_start")
GAP_MARKS = ("start", "end")


def columns(row_type: type[Row]) -> tuple[str, ...]:
    """Return a table's column names in order."""
    return tuple(f.name for f in fields(row_type))


_columns = {kind: columns(kind) for kind in (ReplyRow, GapRow, UserRow, ServerRow, GpuRow)}
_readers = {kind: attrgetter(*names) for kind, names in _columns.items()}


def values_of(row: Row) -> tuple[Any, ...]:
    """Return a row's values in order. `dataclasses.astuple` makes deep copies and takes 20 times as long."""
    values: tuple[Any, ...] = _readers[type(row)](row)
    return values


RowWithMarks = TypeVar("RowWithMarks", ReplyRow, GapRow)
_places_of_marks = {
    ReplyRow: tuple(map(_columns[ReplyRow].index, REPLY_MARKS)),
    GapRow: tuple(map(_columns[GapRow].index, GAP_MARKS)),
}


def shifted_values(row: ReplyRow | GapRow, seconds: float) -> tuple[Any, ...]:
    """Return a row's values in order, with its times shifted; durations stay."""
    values = list(values_of(row))
    for place in _places_of_marks[type(row)]:
        if values[place] is not None:
            values[place] += seconds
    return tuple(values)


def shifted(row: RowWithMarks, seconds: float) -> RowWithMarks:
    """Return the row with its times shifted; durations stay."""
    return type(row)(*shifted_values(row, seconds))
