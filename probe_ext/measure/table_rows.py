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
MIN_RECORDED_GAP_S = 0.25
"""gaps at least this long have a row in gaps.csv"""


@dataclass(frozen=True, slots=True)
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
    """tokens that arrived in the same read as the first"""
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
    """tokens of the event that ended the longest gap: many where a parser held them back"""
    resolve: float | None = None
    """the part of `connect` that name resolution took"""


@dataclass(frozen=True, slots=True)
class GapRow:
    """A gap of at least MIN_RECORDED_GAP_S within a reply: a row of `gaps.csv`."""

    reply_id: str
    start: float
    end: float
    tokens_before: int


@dataclass(frozen=True, slots=True)
class UserRow:
    """The number of users at one time: a row of `users.csv`."""

    t: float
    users: int
    target: int | None
    state: str
    """Locust's runner state: ready, spawning, running, cleanup, stopping, stopped"""


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
OPTIONAL_COLUMNS = DEADLINE_COLUMNS | {"tokens_reasoning", "gap_tokens", "resolve"}
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


def shifted(row: RowWithMarks, seconds: float, marks: tuple[str, ...]) -> RowWithMarks:
    """Return the row with its times (`marks`) shifted; durations stay."""
    names = _columns[type(row)]
    values = list(values_of(row))
    for mark in marks:
        index = names.index(mark)
        if values[index] is not None:
            values[index] += seconds
    return type(row)(*values)
