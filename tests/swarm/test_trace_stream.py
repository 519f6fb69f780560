"""A trace replayed as an open stream: which worker sends what and when, turns in order, and what is left at the end."""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import gevent
import pytest

from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.rate import Rate
from probe_ext.swarm.link import messages
from probe_ext.swarm.link.message_shapes import FROM_MASTER
from probe_ext.swarm.master.open_stream import TraceStream
from probe_ext.swarm.users.arrivals import Arrival, Arrivals, Slot
from probe_ext.swarm.users.recorder import Recorder
from probe_ext.workload.traces.replay_times import Pass
from probe_ext.workload.traces.trace import Trace, TraceRequest

LONG = 120.0  # generous: events are waited for, never slept for
Sent = tuple[float, int, int]
"""due in the run, place in the trace, number of the pass"""


def trace_of(*turns: tuple[float, int]) -> Trace:
    """Return a trace of requests at these times, of these sessions."""
    return Trace("mooncake", "0", 512, tuple(TraceRequest(at, session, 100, 5) for at, session in turns))


TRACE = trace_of(*((0.5 * i, i % 7 if i < 30 else i) for i in range(40)))
PASSES = (Pass(TRACE, 1.0), Pass(TRACE, 2.0))


class Master:
    """A stream of a trace with a clock and workers, which takes each pass after the other."""

    def __init__(self, *workers: str) -> None:
        self.now, self.present = 0.0, list(workers)
        self.stream = TraceStream(PASSES, 7, 10.0, lambda: self.now)
        self.stream.workers = lambda: self.present

    def scheduled(self, workers: str) -> list[Sent]:
        """Return what the workers would send, by all that they are told."""
        sent = []
        for worker in workers:
            stream, count = Arrivals(Recorder(worker), lambda *_: None, lambda: PASSES), len(self.stream.segments)
            told = self.stream.message(worker, 0.0)["segments"]
            assert len(told) == count, "the newest three are announced"
            ends = [segment["start"] for segment in told[1:]] + [1e9]
            for segment, end in zip(told, ends, strict=True):
                for one in stream._arrivals_of(segment, {"form": "trace"}):
                    assert one.replayed is not None
                    if segment["start"] + one.at < end:
                        sent.append((segment["start"] + one.at, one.replayed.place, one.replayed.replay))
        return sorted(sent)


def test_any_number_of_workers_sends_the_same_requests_at_the_same_times() -> None:
    runs = []
    for workers in ("a", "abcd"):
        master = Master(*workers)
        for replay in PASSES:
            master.stream.ask(Rate.of(replay.rate))
            master.now += replay.seconds + 1
        master.stream.ask(Rate(0))
        runs.append(master.scheduled(workers))
    assert runs[0] == runs[1]
    starts = [segment.start for segment in master.stream.segments]
    assert runs[0] == [
        (starts[i] + one.due, one.place, i) for i, replay in enumerate(PASSES) for one in replay.schedule
    ]


def test_a_worker_that_comes_or_leaves_in_mid_pass_loses_and_repeats_nothing() -> None:
    master = Master("a", "b")
    master.stream.ask(Rate.of(PASSES[0].rate))
    for second, present in ((7.0, "abc"), (12.0, "ac")):
        master.now, master.present = second, list(present)
        master.stream.check_workers()
    sent = master.scheduled("abc")
    assert [place for _, place, _ in sent] == list(range(40))
    assert [due for due, _, _ in sent] == pytest.approx([1 + 0.5 * i for i in range(40)])


def test_the_manifest_says_how_many_requests_were_due_by_now() -> None:
    master = Master("a")
    master.stream.ask(Rate.of(PASSES[0].rate))
    assert [segment["requests"] for segment in master.stream.as_json()["segments"]] == [0]
    master.now = 6.1
    assert master.stream.as_json()["segments"][0]["requests"] == 11, "0, 0.5, …, 5 s after the start at 1 s"
    master.now = 40.0
    master.stream.ask(Rate.of(PASSES[1].rate))
    master.now = 100.0
    master.stream.ask(Rate(0))
    master.now = 200.0
    about = master.stream.as_json()
    assert about["form"] == "trace"
    assert [segment["requests"] for segment in about["segments"]] == [40, len(PASSES[1].schedule), 0]


def test_what_workers_are_told_passes_their_filter() -> None:
    master = Master("a")
    master.stream.ask(Rate.of(PASSES[0].rate))
    told = {"run": "r", **master.stream.message("a", 5.0)}
    assert FROM_MASTER[messages.ARRIVALS](told)
    told["segments"][0]["replay"] = -1
    assert not FROM_MASTER[messages.ARRIVALS](told)


class Stream:
    """The arrivals of one process, with slots that take a while for each."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.recorder = trace, Recorder("w")
        self.unsent: list[tuple[int, Outcome, str]] = []
        self.spans: dict[int, tuple[float, float]] = {}
        """when each place of the trace was sent, and when it ended"""
        self.taken: list[Arrival] = []
        self.arrivals = Arrivals(self.recorder, self.note, lambda: (Pass(trace, 1.0),))

    def note(self, arrival: Arrival, outcome: Outcome, why: str) -> None:
        assert arrival.replayed is not None
        self.unsent.append((arrival.replayed.place, outcome, why))

    def begin(self, give_up: float = LONG, ago: float = 0.0) -> None:
        start = clock.monotonic() - ago
        segment = {"number": 0, "rate": 1.0, "start": start, "since": start, "replay": 0, "index": 0, "of": 1}
        plan = {"form": "trace", "give_up": give_up, "give_up_of": {}, "segments": [segment]}
        self.arrivals.update(plan)

    def slot(self, busy: float) -> Any:
        def work() -> None:
            slot = Slot(self.arrivals, "")
            while True:
                arrival = slot.take()
                self.taken.append(arrival)
                assert arrival.replayed is not None
                began = clock.monotonic()
                gevent.sleep(busy)
                self.spans[arrival.replayed.place] = began, clock.monotonic()

        return gevent.spawn(work)


@pytest.fixture
def slots() -> Iterator[list[Any]]:
    made: list[Any] = []
    yield made
    gevent.killall(made)


def wait_for(condition: Any) -> None:
    until = clock.monotonic() + LONG
    while not condition() and clock.monotonic() < until:
        gevent.sleep(0.01)
    assert condition()


def test_a_turn_is_sent_when_the_turn_before_it_has_ended(slots: list[Any]) -> None:
    turns = [(0.01 * i, i % 5) for i in range(25)]
    stream = Stream(trace_of(*turns))
    slots += [stream.slot(0.06) for _ in range(10)]
    stream.begin()
    wait_for(lambda: len(stream.spans) == len(turns))
    assert not stream.unsent
    of: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for place, span in sorted(stream.spans.items()):
        of[turns[place][1]].append(span)
    for spans in of.values():
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
    late = [one for one in stream.taken if one.ready > one.due]
    assert len(late) >= 15, "the later turns waited"
    assert all(
        one.due == pytest.approx(stream.taken[0].due + turns[one.replayed.place][0])
        for one in stream.taken
        if one.replayed
    ), "a wait for the turn before counts from when the turn was due"


class Stepped(Stream):
    """The same with time that stands still between steps: the greenlet of the arrivals never runs."""

    def __init__(self, trace: Trace, give_up: float, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(trace)
        self.now = 0.0
        monkeypatch.setattr(clock, "monotonic", lambda: self.now)
        self.begin(give_up)

    def step(self, now: float) -> None:
        self.now = now
        self.arrivals._take_due(now)
        self.arrivals._give_up_on_late(now)


def test_a_turn_that_waits_too_long_for_the_one_before_is_not_sent_and_the_session_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Stepped(trace_of((0.0, 0), (0.05, 0), (0.2, 0), (0.9, 0), (0.9, 1)), 0.3, monkeypatch)
    stream.step(0.0)
    slot = Slot(stream.arrivals, "")
    assert slot.take().replayed.place == 0
    for now in (0.1, 0.25, 0.34):
        stream.step(now)
    assert not stream.unsent
    stream.step(0.36)
    assert stream.unsent == [(1, Outcome.NOT_SENT, "the turn before it had not ended 0.3 s after it was due")]
    stream.step(0.9)
    assert [place for place, _, _ in stream.unsent] == [1, 2]
    other = Slot(stream.arrivals, "").take()
    assert (other.replayed.place, other.ready) == (4, 0.0), "another session does not wait"
    stream.step(1.0)
    following = slot.take()
    assert (following.replayed.place, following.due, following.ready) == (3, 0.9, 1.0)
    assert len(stream.unsent) == 2


def test_a_turn_that_found_no_connection_does_not_hold_up_its_session(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stepped(trace_of((0.0, 0), (0.1, 1), (0.2, 1), (0.6, 1)), 0.3, monkeypatch)
    stream.step(0.0)
    slot = Slot(stream.arrivals, "")
    slot.take()
    stream.step(0.25)
    stream.step(0.45)
    assert [place for place, _, _ in stream.unsent] == [1]
    assert "no free connection" in stream.unsent[0][2]
    stream.step(0.55)
    assert [place for place, _, _ in stream.unsent] == [1, 2]
    stream.step(0.7)
    assert slot.take().replayed.place == 3


def test_the_end_of_the_run_leaves_no_turn_without_a_row(slots: list[Any]) -> None:
    stream = Stream(trace_of((0.0, 0), (0.05, 0), (0.1, 0), (0.1, 1), (90.0, 0)))
    slots.append(stream.slot(LONG))
    stream.begin(ago=1.0)
    wait_for(lambda: stream.recorder.started == 4)
    stream.arrivals.stop()
    assert sorted(place for place, _, _ in stream.unsent) == [1, 2, 3]
    assert {outcome for _, outcome, _ in stream.unsent} == {Outcome.ENDED_BY_US}
