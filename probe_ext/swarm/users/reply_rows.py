"""Turn a reply into what is kept of it: a row, its long gaps, and its part of the windows."""

from itertools import accumulate
from operator import attrgetter
from typing import Any

from probe_ext.client.reply import Reply
from probe_ext.measure.fluidity import DeadlineCount, Deadlines, worst
from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.measure.table_rows import MIN_RECORDED_GAP_S, ReplyRow
from probe_ext.measure.timeline import TokenEvents, bursts, gaps
from probe_ext.measure.window_sketches import KIND_SEPARATOR, WindowSketches

_OF_REPLY = (
    *("streamed", "tokens_in", "tokens_cached", "tokens_out", "tokens_from", "tokens_reasoning", "tokens_claimed"),
    *("finish_reason", "status", "message", "reads", "reads_unresolved", "delivery", "segments", "text_bytes", "via"),
)
_OF_PACE = (
    *("first", "last", "events", "tokens_first", "tpot", "longest_gap", "gap_start", "gap_tokens", "held_max"),
    "tokens_held",
)
_OF_SERVER_TIMES = ("ttft", "queue", "itl")
_SERVER_COLUMNS = tuple(f"server_{name}" for name in _OF_SERVER_TIMES)
_values_of_reply, _values_of_pace = attrgetter(*_OF_REPLY), attrgetter(*_OF_PACE)
_values_of_server_times = attrgetter(*_OF_SERVER_TIMES)
_WITHOUT_PACE = dict.fromkeys(_OF_PACE) | {"events": 0}


def reply_row(  # noqa: PLR0913 -- all but the reply by name only
    reply: Reply,
    *,
    reply_id: str,
    worker: str,
    user: str,
    scenario: str,
    kind: str,
    tokens_meant: int | None = None,
    tokens_shared: int | None = None,
    deadlines: Deadlines | None = None,
) -> ReplyRow:
    """Return the row of a reply, in this process's monotonic seconds."""
    marks, pace, times = reply.marks, reply.pace, reply.server_times
    visible = pace if reply.all_visible else reply.visible_pace
    same: dict[str, Any] = dict(zip(_OF_REPLY, _values_of_reply(reply), strict=True))
    same.update(zip(_OF_PACE, _values_of_pace(pace), strict=True) if pace else _WITHOUT_PACE)
    if times:
        same.update(zip(_SERVER_COLUMNS, _values_of_server_times(times), strict=True))
    deadline_count = _count_deadlines(reply, deadlines) if deadlines else None
    return ReplyRow(
        reply_id=reply_id,
        worker=worker,
        user=user,
        scenario=scenario,
        kind=kind,
        due=marks.due,
        late=marks.late,
        sent=marks.sent,
        headers=marks.headers,
        first_visible=visible.first if visible else None,
        end=marks.end if marks.end is not None else marks.due,
        tokens_visible=visible.tokens if visible else None,
        events_visible=visible.events if visible else 0,
        choices=len(reply.choices),
        tpot_visible=visible.tpot if visible else None,
        longest_gap_visible=visible.longest_gap if visible else None,
        outcome=reply.outcome.value,
        connect=marks.connect,
        tls=marks.tls,
        lag_max=max(reply.lags) if reply.lags else None,
        deadlines=deadline_count.deadlines if deadline_count else None,
        deadlines_missed=deadline_count.missed if deadline_count else None,
        resolve=marks.resolve,
        tokens_meant=tokens_meant,
        tokens_shared=tokens_shared,
        **same,
    )


def _count_deadlines(reply: Reply, deadlines: Deadlines) -> DeadlineCount | None:
    """Return the deadlines of a streamed reply; None if it had none, or failed through our own fault."""
    marks = reply.marks
    start = marks.sent if deadlines.from_sent else marks.due + marks.late
    if not reply.streamed or reply.outcome is Outcome.CLIENT_ERROR or start is None:
        return None
    died = None if reply.outcome is Outcome.COMPLETE else marks.end
    events = [tokens.only_visible() if deadlines.visible else tokens for tokens in reply.events] or [TokenEvents()]
    return worst([deadlines.count(tokens, start, died, failed=is_failure(reply.outcome)) for tokens in events])


def long_gaps(reply: Reply, row: ReplyRow, seconds: float) -> list[tuple[Any, ...]]:
    """Return the values of a GapRow for every gap of at least MIN_RECORDED_GAP_S, of all choices.

    `seconds` are added to its times. Of a slow server every gap is so long: no row is made of them.
    """
    if row.longest_gap is None or row.longest_gap < MIN_RECORDED_GAP_S:
        return []
    values: list[tuple[Any, ...]] = []
    for events in reply.events:
        at, before = events.at, list(accumulate(events.tokens, initial=0))
        values += [
            (row.reply_id, at[start - 1] + seconds, at[start] + seconds, before[start], before[stop] - before[start])
            for start, stop in bursts(events)
            if start and at[start] - at[start - 1] >= MIN_RECORDED_GAP_S
        ]
    return values


def write_windows(book: WindowSketches, reply: Reply, row: ReplyRow, origin: float, kind: str = "") -> None:
    """Add a reply to the windows; `origin` is the run's zero in this process's monotonic seconds.

    `kind`: of user, if it has windows of its own.
    """
    of = f"{KIND_SEPARATOR}{kind}" if kind else ""
    if reply.lags:
        book.add(f"lag{of}", row.end - origin, reply.lags)
        book.add(f"overdue{of}", row.end - origin, reply.overdue)
    if row.first is not None and row.sent is not None:
        book.add(f"ttft{of}", row.first - origin, [max(0.0, row.first - row.sent)])
    if not reply.streamed and reply.tokens_out:
        book.count(f"tokens{of}", row.end - origin, reply.tokens_out)  # none was visible before
    for events in reply.events:
        if events.at:
            _write_tokens(book, events, _weight(reply, events), origin, of)


def _weight(reply: Reply, events: TokenEvents) -> float:
    """Return tokens per counted token: above 1 if the server's total exceeds what its events showed."""
    if reply.tokens_out is None or len(reply.choices) != 1:
        return 1.0
    return reply.tokens_out / sum(events.tokens)


def _write_tokens(book: WindowSketches, events: TokenEvents, weight: float, origin: float, of: str) -> None:
    tokens = events.tokens
    single = tokens.count(1) == len(tokens)  # as nearly always
    counted = range(1, len(tokens) + 1) if single else list(accumulate(tokens))
    totals = [round(n * weight) for n in counted] if weight != 1 else counted
    book.count_series(f"tokens{of}", events.at, totals, origin)
    spread, ends = gaps(events.at), events.at[1:]
    if spread and min(spread) < 0:
        spread = [max(0.0, gap) for gap in spread]
    if counted[-1] == len(counted):  # one token per event: the gap is the inter-token latency
        book.add_series((f"gap{of}", f"itl{of}"), ends, spread, origin)
        return
    book.add_series((f"gap{of}",), ends, spread, origin)
    book.add_series((f"itl{of}",), ends, [gap / n for gap, n in zip(spread, events.tokens[1:], strict=True)], origin)
