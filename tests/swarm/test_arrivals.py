"""The open stream of one process: each arrival is handed out once, waits for a slot, or is recorded as not sent."""

from collections import Counter
from itertools import takewhile
from typing import Any

import gevent
import pytest

from probe_ext.measure import clock
from probe_ext.measure.outcome import Outcome
from probe_ext.swarm.users.arrivals import Arrival, Arrivals
from probe_ext.swarm.users.recorder import Recorder
from probe_ext.workload.arrival_times import ArrivalCount, ArrivalForm, kind_of, segment_seed

SEED = 5
LONG = 120.0  # generous: events are waited for, never slept for


class Stream:
    """Arrivals whose unsent ones are kept."""

    def __init__(self) -> None:
        self.recorder = Recorder("w")
        self.unsent: list[tuple[Arrival, Outcome]] = []
        self.taken: list[Arrival] = []
        self.arrivals = Arrivals(self.recorder, lambda arrival, outcome, why: self.unsent.append((arrival, outcome)))

    def begin(
        self,
        *rates: float,
        start: float,
        each: float = 1.0,
        give_up: float = 10.0,
        kinds: dict[str, float] | None = None,
        give_up_of: dict[str, float] | None = None,
        **own: Any,
    ) -> None:
        segments = [
            {"number": i, "rate": rate, "start": start + i * each, "index": 0, "of": 1, "before": {}, **own}
            for i, rate in enumerate(rates)
        ]
        self.arrivals.update(
            {
                "form": "poisson",
                "seed": SEED,
                "give_up": give_up,
                "give_up_of": give_up_of or {},
                "kinds": kinds or {},
                "segments": segments,
            }
        )

    def slot(self, busy: float = 0.0, kind: str = "") -> Any:
        def work() -> None:
            while True:
                self.taken.append(self.arrivals.take(kind))
                gevent.sleep(busy)

        return gevent.spawn(work)

    @property
    def numbers(self) -> list[int]:
        return sorted([*(one.number for one in self.taken), *(one.number for one, _ in self.unsent)])


@pytest.fixture
def stream():
    made = Stream()
    yield made
    made.arrivals.stop()


def wait_for(condition) -> None:
    until = clock.monotonic() + LONG
    while not condition() and clock.monotonic() < until:
        gevent.sleep(0.01)
    assert condition()


def test_each_arrival_of_the_schedule_is_handed_out_once_at_its_time(stream):
    start = clock.monotonic() - 2.0
    slots = [stream.slot() for _ in range(3)]
    stream.begin(50.0, 0.0, start=start)
    expected = meant(50.0)
    wait_for(lambda: len(stream.taken) == expected)
    assert stream.numbers == list(range(1, expected + 1)) == list(range(1, stream.recorder.started + 1))
    assert [one.due for one in stream.taken] == sorted(one.due for one in stream.taken)
    assert not stream.unsent
    gevent.killall(slots)


def test_an_arrival_without_a_slot_waits_and_is_then_recorded_as_not_sent(stream):
    stream.begin(40.0, 0.0, start=clock.monotonic(), each=0.5, give_up=3.0)  # longer than a busy machine pauses us
    slot = stream.slot(busy=2.0)
    expected = meant(40.0, 0.5)
    wait_for(lambda: len(stream.numbers) == expected)
    assert stream.numbers == list(range(1, expected + 1)), "scheduled = handed out + not sent"
    assert {outcome for _, outcome in stream.unsent} == {Outcome.NOT_SENT}
    assert stream.unsent
    gevent.kill(slot)


def test_what_is_noticed_far_too_late_is_the_load_generators_own_fault(stream):
    stream.begin(20.0, 0.0, start=clock.monotonic() - 60.0, give_up=5.0)
    wait_for(lambda: stream.unsent)
    assert {outcome for _, outcome in stream.unsent} == {Outcome.CLIENT_ERROR}


def test_the_end_of_the_run_leaves_no_arrival_without_a_row(stream):
    stream.begin(100.0, start=clock.monotonic() - 0.5)
    wait_for(lambda: stream.recorder.started > 30)
    stream.arrivals.stop()
    assert stream.numbers == list(range(1, stream.recorder.started + 1))
    assert {outcome for _, outcome in stream.unsent} == {Outcome.ENDED_BY_US}
    started = stream.recorder.started
    gevent.sleep(0.1)
    assert stream.recorder.started == started, "nothing arrives after the end"


def test_a_slot_that_is_killed_while_it_waits_loses_nothing(stream):
    idle = [stream.slot() for _ in range(5)]
    gevent.sleep(0)
    gevent.killall(idle[1:])
    stream.begin(50.0, 0.0, start=clock.monotonic() - 1.0)
    expected = meant(50.0)
    wait_for(lambda: len(stream.taken) == expected)
    gevent.kill(idle[0])


def test_repeated_and_late_announcements_change_nothing(stream):
    start = clock.monotonic() - 1.0
    slot = stream.slot()
    for _ in range(3):
        stream.begin(50.0, 0.0, start=start)
        gevent.sleep(0.01)
    expected = meant(50.0)
    wait_for(lambda: len(stream.taken) == expected)
    assert stream.recorder.started == expected
    gevent.kill(slot)


def test_four_processes_together_take_every_arrival(stream):
    start = clock.monotonic() - 2.0
    streams = [Stream() for _ in range(4)]
    slots = [one.slot() for one in streams]
    for index, one in enumerate(streams):
        one.begin(60.0, 0.0, start=start, index=index, of=4)
    meant = [start + at for at in takewhile(lambda at: at < 1.0, ArrivalForm().times(60.0, segment_seed(SEED, 0)))]
    wait_for(lambda: sum(len(one.taken) for one in streams) == len(meant))
    assert sorted(one.due for each in streams for one in each.taken) == meant
    gevent.killall(slots)


def test_a_worker_without_a_share_takes_nothing(stream):
    stream.begin(100.0, start=clock.monotonic() - 5.0, index=None)
    gevent.sleep(0.05)
    assert stream.recorder.started == 0


def test_overdue_work_does_not_spin(stream, monkeypatch):
    """With everything overdue and no slot free, the stream sleeps until the next arrival is due or given up on."""
    looks = 0
    original = Arrivals._take_due

    def counted(self, now):
        nonlocal looks
        looks += 1
        original(self, now)

    monkeypatch.setattr(Arrivals, "_take_due", counted)
    stream.begin(500.0, 0.0, start=clock.monotonic() - 1.0)
    wait_for(lambda: stream.recorder.started > 300)
    before = looks
    gevent.sleep(0.5)
    assert looks - before <= 5


def test_an_arrival_of_a_kind_waits_for_a_slot_of_that_kind(stream):
    shares = {"chat": 0.75, "review": 0.25}
    stream.begin(80.0, 0.0, start=clock.monotonic() - 2.0, give_up=LONG, kinds=shares)
    chat = stream.slot(kind="chat")
    kinds = [kind_of(shares, segment_seed(SEED, 0), k) for k in range(meant(80.0))]
    wait_for(lambda: len(stream.taken) == kinds.count("chat"))
    assert {one.kind for one in stream.taken} == {"chat"}
    assert stream.recorder.started == len(kinds)
    review = stream.slot(kind="review")
    wait_for(lambda: len(stream.taken) == len(kinds))
    assert Counter(one.kind for one in stream.taken) == Counter(kinds)
    gevent.killall([chat, review])


def test_a_slot_may_be_there_before_the_stream_is_announced(stream):
    slots = [stream.slot(kind="chat"), stream.slot(kind="review")]
    gevent.sleep(0)
    stream.begin(60.0, 0.0, start=clock.monotonic() - 1.0, kinds={"chat": 0.5, "review": 0.5})
    wait_for(lambda: len(stream.taken) == meant(60.0))
    gevent.killall(slots)


def test_each_kind_is_given_up_after_its_own_time(stream):
    shares, patience = {"chat": 0.5, "review": 0.5}, {"chat": 1.0, "review": LONG}
    stream.begin(40.0, 0.0, start=clock.monotonic() - 3.0, give_up=1.0, kinds=shares, give_up_of=patience)
    kinds = [kind_of(shares, segment_seed(SEED, 0), k) for k in range(meant(40.0))]
    wait_for(lambda: len(stream.unsent) == kinds.count("chat"))
    assert {one.kind for one, _ in stream.unsent} == {"chat"}
    slot = stream.slot(kind="review")
    wait_for(lambda: len(stream.taken) == kinds.count("review"))
    assert stream.numbers == list(range(1, len(kinds) + 1))
    gevent.kill(slot)


def test_a_kind_without_any_slot_here_is_the_load_generators_own_fault(stream):
    stream.begin(40.0, 0.0, start=clock.monotonic(), each=0.3, give_up=2.0, kinds={"chat": 0.5, "review": 0.5})
    slot = stream.slot(kind="chat")
    wait_for(lambda: len(stream.numbers) == meant(40.0, 0.3))
    assert {(one.kind, outcome) for one, outcome in stream.unsent} == {("review", Outcome.CLIENT_ERROR)}
    gevent.kill(slot)


def meant(rate: float, seconds: float = 1.0) -> int:
    seed = segment_seed(SEED, 0)
    return ArrivalCount(ArrivalForm().times(rate, seed), {}, seed).until(seconds).total()
