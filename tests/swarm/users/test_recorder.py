"""Every started reply becomes exactly one row, even if the run is announced late."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from swarm_fakes import Disk, Talk, World, a_reply, ask

from probe_ext.client.reply import Reply
from probe_ext.live.visit_monitor import VisitMonitor
from probe_ext.measure import clock
from probe_ext.measure.fluidity import Deadlines
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import ReplyRow, columns
from probe_ext.measure.timeline import Marks
from probe_ext.measure.unfinished import Progress
from probe_ext.run import tables
from probe_ext.settings.slo import SloProfile
from probe_ext.swarm.run_files.collector import Collector
from probe_ext.swarm.users.drain import drain
from probe_ext.swarm.users.recorder import Recorder, RequestInfo, watch_loop
from probe_ext.swarm.users.reply_rows import reply_row


def rows_of(recorder: Recorder) -> list[ReplyRow]:
    return [ReplyRow(*values) for batch in recorder.unacknowledged.values() for values in batch["rows"]]


def test_counts_deadlines_of_the_runs_profile() -> None:
    """First token after 0.5 s, then 50 a second: a rule of 1 s and 10 a second is always met."""
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None, deadlines=Deadlines(first=1.0, each=0.1))
    ask(recorder, a_reply())
    slow = a_reply(gap=0.45)
    ask(recorder, slow)
    for outcome in (Outcome.CUT, Outcome.ENDED_BY_US, Outcome.CLIENT_ERROR):
        ask(recorder, a_reply(outcome=outcome))
    ask(recorder, Reply(Marks(due=103.0, end=104.0), streamed=True, outcome=Outcome.CONNECT_FAILED))
    ask(recorder, replace(a_reply(), streamed=False))
    recorder.flush()
    found = [(row.deadlines, row.deadlines_missed) for row in rows_of(recorder)]
    assert found[0] == (5, 0)
    assert found[1][1]
    assert found[2:] == [(6, 1), (5, 0), (None, None), (1, 1), (None, None)]


def test_deadlines_are_missing_without_a_rule_and_visible_with_hidden_reasoning() -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    ask(recorder, a_reply())
    recorder.flush()
    assert [(row.deadlines, row.deadlines_missed) for row in rows_of(recorder)] == [(None, None)]
    thinker = a_reply()
    thinker.choices[0].events.visible[:3] = [False] * 3
    hidden = reply_row(
        thinker, reply_id="w:1", worker="w", user="w:1", scenario="s", kind="chat",
        deadlines=Deadlines(1.0, 0.1, from_sent=True, visible=True),
    )  # fmt: skip
    assert (hidden.deadlines, hidden.deadlines_missed) == (2, 0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk()
    monkeypatch.setattr(tables.os, "write", made.write(tables.os.write))
    yield made
    made.full = False


def test_every_started_reply_is_one_row() -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    for outcome in Outcome:
        ask(recorder, a_reply(outcome=outcome))
    recorder.flush()
    rows = rows_of(recorder)
    assert [row.reply_id for row in rows] == [f"w:{n}" for n in range(1, len(Outcome) + 1)]
    assert {row.outcome for row in rows} == {outcome.value for outcome in Outcome}
    assert recorder.started == recorder.finished == len(rows)
    assert not recorder.in_flight


def test_a_first_connection_that_fails_does_not_tell_how_sockets_are_read() -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    told = []
    for stamped, path in [(False, None), (True, "native"), (False, "python: not built")]:
        recorder.note_connection(stamped, path)
        ask(recorder, a_reply())
        recorder.flush()
        newest = recorder.unacknowledged[max(recorder.unacknowledged)]
        told.append((newest["stamped"], newest["reading_path"]))
    assert told == [(None, None), (True, "native"), (True, "native")]


def test_reply_without_a_connection_has_a_row_with_missing_marks() -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    ask(recorder, Reply(Marks(due=103.0, end=104.0), streamed=True, outcome=Outcome.CONNECT_FAILED))
    recorder.flush()
    (row,) = rows_of(recorder)
    assert (row.due, row.end, row.sent, row.first, row.tokens_out) == (3.0, 4.0, None, None, None)


def test_rows_use_the_runs_time_axis_even_if_announced_late() -> None:
    late, early = Recorder("w"), Recorder("w")
    early.begin("r1", 100.0, None)
    for recorder in (late, early):
        ask(recorder, a_reply(sent=107.0))
        recorder.flush()
    assert not late.unacknowledged  # the run is not announced yet
    late.begin("r1", 100.0, None)
    late.flush()
    assert rows_of(late) == rows_of(early)
    assert rows_of(late)[0].sent == pytest.approx(7.0)
    assert late.unacknowledged[1]["windows"] == early.unacknowledged[1]["windows"] != []


def test_batch_holds_news_until_acknowledged() -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    recorder.flush()
    assert recorder.last_number == 1  # its existence is new information
    recorder.flush()
    assert recorder.last_number == 1
    ask(recorder)
    recorder.flush()
    recorder.flush()
    assert recorder.last_number == 2
    assert [len(batch["rows"]) for batch in recorder.unacknowledged.values()] == [0, 1]


def test_started_reply_is_reported_before_its_end() -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    talk: Any = Talk()
    recorder.start(talk)
    recorder.flush()
    assert (recorder.unacknowledged[1]["started"], recorder.unacknowledged[1]["finished"]) == (1, 0)


def test_replies_in_flight_are_reported_as_fine_or_late_so_far() -> None:
    recorder, now = Recorder("w"), clock.monotonic()
    recorder.begin("r1", now - 100.0, None, deadlines=Deadlines(first=1.0, each=0.1), follow=True)
    for sent, first, tokens in ((5.0, 4.7, 60), (5.0, 4.7, 12), (9.0, None, 0), (0.2, None, 0)):
        talk: Any = Talk()
        progress = Progress(now - sent, now, None if first is None else now - first, tokens)
        talk.look = lambda seen=progress: seen
        recorder.start(talk)
    not_streamed: Any = Talk()
    not_streamed.look = lambda: None
    recorder.start(not_streamed)
    recorder.flush()
    batch = recorder.unacknowledged[1]
    known, late, late_now = map(sum, zip(*batch["early"], strict=True))
    assert (known, late, late_now) == (3, 2, 2), "the fourth is too young, the fifth tells nothing"
    assert [age for age, one in enumerate(batch["early"]) if one[0]] == [5, 9]


def test_backup_has_the_same_rows(tmp_path: Path) -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, tmp_path / "new")
    ask(recorder, a_reply(gap=0.5, tokens=3))
    recorder.flush()
    recorder.close()
    lines = list(csv.DictReader((tmp_path / "new" / "requests-w.csv").open()))
    assert [line["reply_id"] for line in lines] == ["w:1"]
    assert tuple(lines[0]) == columns(ReplyRow)
    assert len((tmp_path / "new" / "gaps-w.csv").read_text().splitlines()) == 1 + 2


def test_full_backup_disk_is_reported_and_loses_nothing(tmp_path: Path, disk: Disk) -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, tmp_path)
    ask(recorder)
    recorder.flush()
    disk.full = True
    ask(recorder)
    recorder.flush()
    assert "No space left" in recorder.unacknowledged[2]["disk_error"]  # in the batch that failed
    ask(recorder)
    recorder.flush()
    recorder.close()
    assert len(rows_of(recorder)) == 3


def test_backup_is_completed_when_there_is_space_again(tmp_path: Path, disk: Disk) -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, tmp_path)
    disk.full = True
    for _ in range(3):
        ask(recorder)
        recorder.flush()
    disk.full = False
    ask(recorder)
    recorder.flush()
    said = recorder.unacknowledged[4]["disk_error"]
    assert "No space left" in said
    assert "every row was written later" in said
    recorder.close()
    rows = list(csv.DictReader((tmp_path / "requests-w.csv").open()))
    assert [row["reply_id"] for row in rows] == ["w:1", "w:2", "w:3", "w:4"]


def test_permanently_full_disk_does_not_fill_memory(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probe_ext.swarm.users.recorder._MAX_PENDING_BYTES", 1000)
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, tmp_path)
    disk.full = True
    for _ in range(20):
        ask(recorder)
        recorder.flush()
    assert recorder._tables is None
    assert "incomplete" in recorder.unacknowledged[20]["disk_error"]
    assert len(rows_of(recorder)) == 20


def test_reports_a_backup_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, tmp_path / "file" / "run")
    ask(recorder)
    recorder.flush()
    assert str(tmp_path / "file" / "run") in recorder.unacknowledged[1]["disk_error"]
    assert len(rows_of(recorder)) == 1


def test_counts_each_token_in_its_second() -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    ask(recorder, a_reply(sent=100.0, tokens=10, gap=0.25))  # from 0.5 to 2.75
    recorder.flush()
    windows = recorder.unacknowledged[1]["windows"]
    tokens = {window["start"]: window["count"] for window in windows if window["metric"] == "tokens"}
    assert tokens == {0: 2, 1: 4, 2: 4}
    assert {window["metric"] for window in windows} == {"tokens", "ttft", "gap", "itl"}


def test_spreads_tokens_without_events_over_the_reply() -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    reply = a_reply(sent=100.0, tokens=10, gap=0.25)
    reply.tokens_out = 25
    ask(recorder, reply)
    recorder.flush()
    counts = [w["count"] for w in recorder.unacknowledged[1]["windows"] if w["metric"] == "tokens"]
    assert sum(counts) == 25


def test_keeps_the_largest_loop_lag(world: World) -> None:
    recorder = Recorder("w")
    naps = iter([0.1, 0.4, 0.15])

    def sleep(_: float) -> None:
        nap = next(naps, None)
        if nap is None:
            raise StopIteration
        world.sleep(nap)

    with pytest.raises(StopIteration):
        watch_loop(lambda: recorder, sleep)
    assert recorder.loop_lag_max == pytest.approx(0.3)


def test_draining_waits_for_replies_in_flight(world: World) -> None:
    recorder = Recorder("w")
    recorder.begin("r1", world.now, None)
    talk: Any = Talk()
    number = recorder.start(talk)
    world.at(world.now + 1.5, lambda: recorder.end(talk, a_reply(), RequestInfo("w:1", "s", "chat"), number) and None)
    drain(recorder, 30.0, world.sleep, lambda: False)
    assert recorder.ending
    assert 101.5 <= world.now < 102
    assert talk.cut_at == []
    assert len(rows_of(recorder)) == 1


@pytest.mark.parametrize("hurried", [False, True], ids=["patience is over", "somebody asked twice"])
def test_draining_aborts_replies_at_the_limit(world: World, *, hurried: bool) -> None:
    recorder = Recorder("w")
    recorder.begin("r1", world.now, None)
    slow: Any = Talk()
    number = recorder.start(slow)
    begun = world.now
    slow.cancel = lambda: recorder.end(
        slow, a_reply(outcome=Outcome.ENDED_BY_US), RequestInfo("w:1", "s", "chat"), number
    )
    drain(recorder, 4.0, world.sleep, lambda: hurried and world.now >= begun + 1)
    assert world.now - begun == pytest.approx(1.0 if hurried else 4.0, abs=0.11)
    assert [row.outcome for row in rows_of(recorder)] == ["ended_by_us"]


def test_draining_ends_even_if_a_reply_cannot_be_aborted(world: World) -> None:
    recorder = Recorder("w")
    recorder.begin("r1", world.now, None)
    stuck: Any = Talk()
    recorder.start(stuck)
    drain(recorder, 1.0, world.sleep, lambda: False)
    assert stuck.cut_at == [True]
    assert (recorder.started, recorder.finished) == (1, 0)  # the check of started against rows will find it


def test_counts_users_by_replies_of_this_level() -> None:
    recorder, tally = Recorder("w"), VisitMonitor(SloProfile.model_validate({"name": "any"}), 2)
    recorder.begin("r1", 0.0, None)
    for user, sent, outcome in (
        ("a", 1.0, Outcome.COMPLETE),  # before the level
        ("a", 6.0, Outcome.COMPLETE),
        ("a", 9.0, Outcome.CUT),  # a failed reply counts too
        ("b", 7.0, Outcome.COMPLETE),
        ("b", 8.0, Outcome.ENDED_BY_US),
        ("c", 3.0, Outcome.COMPLETE),
        ("c", 4.0, Outcome.COMPLETE),
    ):
        tally.add(ask(recorder, a_reply(sent=sent, outcome=outcome), user))
    assert tally.users_with_enough_replies(0.0) == 2
    assert tally.users_with_enough_replies(5.0) == 1


def test_accepts_each_batch_once_in_any_order(tmp_path: Path) -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    for _ in range(5):
        ask(recorder)
        recorder.flush()
    batches = list(recorder.unacknowledged.values())
    heard: list[ReplyRow] = []
    collector = Collector("r1", tmp_path, heard.append)
    for batch in [batches[k] for k in (3, 0, 0, 4, 1, 3)]:
        collector.accept(batch)
    assert not collector.has_all("w", 5)
    collector.accept({**batches[2], "run": "another"})
    assert not collector.has_all("w", 5)
    collector.accept(batches[2])
    assert collector.has_all("w", 5)
    assert collector.reported["w"]["started"] == 5  # from the newest batch, though an older one arrived last
    assert (collector.rows, collector.reported["w"]["rows"], len(heard)) == (5, 5, 5)
    collector.close()
    lines = list(csv.DictReader((tmp_path / "requests.csv").open()))
    assert sorted(line["reply_id"] for line in lines) == [f"w:{n}" for n in range(1, 6)]
    counts = [line for line in (tmp_path / "sketches.jsonl").read_text().splitlines() if '"tokens"' in line]
    assert sum(int(line.rpartition(":")[2].rstrip("}")) for line in counts) == 25


def test_writes_rows_when_there_is_space_again(tmp_path: Path, disk: Disk) -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    collector = Collector("r1", tmp_path, lambda _: None)
    for k in range(4):
        ask(recorder)
        recorder.flush()
        disk.full = k in {1, 2}
        collector.accept(recorder.unacknowledged.pop(k + 1))
        assert collector.unwritten.get("requests.csv", 0) == {0: 0, 1: 1, 2: 2, 3: 0}[k]
    collector.close()
    assert collector.unwritten == {}
    assert "No space left" in collector.disk_errors["requests.csv"]
    ids = [line["reply_id"] for line in csv.DictReader((tmp_path / "requests.csv").open())]
    assert ids == ["w:1", "w:2", "w:3", "w:4"]


def test_counts_lines_that_a_full_disk_lost(tmp_path: Path, disk: Disk) -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    collector = Collector("r1", tmp_path, lambda _: None)
    for k in range(3):
        ask(recorder)
        recorder.flush()
        collector.accept(recorder.unacknowledged.pop(k + 1))
        disk.full = True
    collector.close()
    assert collector.unwritten["requests.csv"] == 2
    text = (tmp_path / "requests.csv").read_text()
    assert text.endswith("\n")
    assert [line["reply_id"] for line in csv.DictReader(text.splitlines())] == ["w:1"]


def test_closed_collector_writes_nothing(tmp_path: Path) -> None:
    recorder = Recorder("w")
    recorder.begin("r1", 100.0, None)
    for _ in range(2):
        ask(recorder)
        recorder.flush()
    collector = Collector("r1", tmp_path, lambda _: None)
    collector.accept(recorder.unacknowledged[1])
    collector.close()
    with (tmp_path / "other").open("w+") as other:  # reuses a freed descriptor
        collector.accept(recorder.unacknowledged[2])
        assert other.read() == ""
    assert not collector.has_all("w", 2)


def test_a_connection_that_failed_does_not_tell_how_sockets_are_read() -> None:
    recorder = Recorder("w")
    recorder.note_connection(stamped=False, reading_path=None)
    assert (recorder.stamped, recorder.reading_path) == (None, None)
    recorder.note_connection(stamped=True, reading_path="native")
    recorder.note_connection(stamped=False, reading_path="python: no kernel timestamps")
    assert (recorder.stamped, recorder.reading_path) == (True, "native")
