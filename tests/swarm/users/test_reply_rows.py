"""What a reply adds to the windows, and which late starts count as ours."""

from probe_ext.client.api.api_event import ServerTimes
from probe_ext.client.decoder import Choice
from probe_ext.client.exchange import Exchange, Limits
from probe_ext.client.reply import Reply
from probe_ext.client.wire.connection import ConnectError
from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.timeline import Marks
from probe_ext.measure.window_sketches import WindowSketches
from probe_ext.swarm.users.reply_rows import reply_row, write_windows


class Closed:
    """A connection that is never made."""

    stamped = False

    def usable(self) -> bool:
        return False

    def open(self, timeout: float) -> None:
        raise ConnectError(f"refused within {timeout} s")

    def close(self) -> None:
        """No open streams."""


def late(*, due: float, free: float | None) -> float:
    conversation = Exchange(
        Closed(),
        b"",
        Limits(),
        due=due,
        streamed=True,
        secret=None,
        free=free,  # type: ignore[arg-type]
    )
    conversation.run()
    return conversation.finish().marks.late


def test_waiting_for_the_previous_reply_is_not_our_lateness() -> None:
    now = clock.monotonic()
    assert late(due=now - 50, free=None) >= 50
    assert late(due=now - 50, free=now) < 50
    assert late(due=now - 50, free=now - 100) >= 50  # the user was idle long before


def test_a_row_has_the_servers_own_times() -> None:
    marks = Marks(due=100.0, sent=100.0, end=107.5)
    named = {"reply_id": "w:1", "worker": "w", "user": "w:1", "scenario": "s", "kind": "chat"}
    reply = Reply(marks, streamed=True, outcome=Outcome.COMPLETE, server_times=ServerTimes(0.25, None, 0.02))
    row = reply_row(reply, **named)
    assert (row.server_ttft, row.server_queue, row.server_itl) == (0.25, None, 0.02)
    assert reply_row(Reply(marks, streamed=True, outcome=Outcome.COMPLETE), **named).server_ttft is None


def test_tokens_of_an_unstreamed_reply_count_at_its_end() -> None:
    marks = Marks(due=100.0, sent=100.0, end=107.5)
    reply = Reply(
        marks, streamed=False, outcome=Outcome.COMPLETE, choices=[Choice()], tokens_out=64, tokens_from="usage"
    )
    book = WindowSketches()
    row = reply_row(reply, reply_id="w:1", worker="w", user="w:1", scenario="s", kind="chat")
    write_windows(book, reply, row, origin=100.0)
    assert [(line["start"], line["count"]) for line in book.take_changes() if line["metric"] == "tokens"] == [(7, 64)]
