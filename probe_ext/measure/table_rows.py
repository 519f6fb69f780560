"""Every column that reaches disk, on one screen.

Times are seconds. Inside a process they are monotonic; in the run directory they are seconds since `started_at` on
the master's axis. None is *missing* and is written as an empty field; it is never zero.
"""

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, TypeVar

WARM_UP = "warm-up"
"""`scenario` of replies that are recorded and not judged"""
COLD, WARM = "cold", "warm"
"""`scenario` of replies whose prompts begin like no other, and of those whose beginning all share"""
GAP_FLOOR = 0.25
"""seconds: every gap at least this long is kept by itself in gaps.csv"""


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """One reply that was started: a line of `requests.csv`."""

    reply_id: str
    """`<worker>:<n>`, unique in a run"""
    worker: str
    user: str
    """`<worker>:<k>`: one simulated person"""
    scenario: str
    kind: str
    """`chat`, `turn` (a chat that holds earlier answers) or `completion`"""
    streamed: bool
    due: float
    """when the user wanted to send"""
    late: float
    """seconds of `sent − due` that we caused: not those in which the user still waited for the last reply"""
    sent: float | None
    headers: float | None
    first: float | None
    """first token event; the latest choice's, with several"""
    first_visible: float | None
    """first token event outside reasoning"""
    last: float | None
    end: float
    tokens_in: int | None
    """prompt tokens as the server counts them"""
    tokens_cached: int | None
    """prompt tokens that the server took from its prefix cache"""
    tokens_out: int | None
    """completion tokens"""
    tokens_from: str | None
    """`usage`, `token_ids` or `events`: where `tokens_out` comes from"""
    tokens_first: int | None
    """tokens in the first token event"""
    tokens_visible: int | None
    """tokens outside reasoning"""
    events: int
    """token events"""
    events_visible: int
    choices: int
    tpot: float | None
    """seconds a token"""
    tpot_visible: float | None
    longest_gap: float | None
    gap_start: float | None
    longest_gap_visible: float | None
    outcome: str
    finish_reason: str | None
    status: int | None
    """HTTP status"""
    message: str | None
    """short and printable; what the server or the system said of a failure"""
    connect: float | None
    tls: float | None
    lag_max: float | None
    """seconds: the latest that we read any of this reply's bytes after the kernel had them"""
    reads: int
    reads_unresolved: int
    """reads that carried more than one token event: the gaps between those are not resolved"""
    deadlines: int | None = None
    """of its tokens, by the run's own profile, for the fluidity index (see `deadlines`)"""
    deadlines_missed: int | None = None


@dataclass(frozen=True, slots=True)
class GapRow:
    """One gap of at least GAP_FLOOR in mid-reply: a line of `gaps.csv`."""

    reply_id: str
    start: float
    end: float
    tokens_before: int


@dataclass(frozen=True, slots=True)
class UserRow:
    """How many users there were: a line of `users.csv`."""

    t: float
    users: int
    target: int | None
    state: str
    """Locust's: ready, spawning, running, cleanup, stopping, stopped"""


@dataclass(frozen=True, slots=True)
class ServerRow:
    """One figure of one server at one moment: a line of `server.csv`."""

    t: float
    url: str
    engine: str
    """the data-parallel engine, or `all` where they were put together"""
    quantity: str
    """canonical name, see docs/metrics.md"""
    value: float


LATER = frozenset({"deadlines", "deadlines_missed"})
"""columns that runs of earlier versions lack, which is no damage"""

Row = ReplyRow | GapRow | UserRow | ServerRow

REPLY_MARKS = ("due", "sent", "headers", "first", "first_visible", "last", "end", "gap_start")
GAP_MARKS = ("start", "end")


def columns(row_type: type[Row]) -> tuple[str, ...]:
    """The header of a table, in order."""
    return tuple(f.name for f in fields(row_type))


_columns = {kind: columns(kind) for kind in (ReplyRow, GapRow, UserRow, ServerRow)}
_readers = {kind: attrgetter(*names) for kind, names in _columns.items()}


def values_of(row: Row) -> tuple[Any, ...]:
    """A row's fields in order; `dataclasses.astuple` copies each, and takes twenty times as long."""
    values: tuple[Any, ...] = _readers[type(row)](row)
    return values


MovableRow = TypeVar("MovableRow", ReplyRow, GapRow)


def moved(row: MovableRow, seconds: float, marks: tuple[str, ...]) -> MovableRow:
    """The same row with its moments shifted; durations stay."""
    names = _columns[type(row)]
    values = list(values_of(row))
    for mark in marks:
        place = names.index(mark)
        if values[place] is not None:
            values[place] += seconds
    return type(row)(*values)
