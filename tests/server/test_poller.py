"""The poller with its clock, tasks and network passed in: grid, hangs, resets, findings."""

import threading

import pytest
from loopback import Loopback

from probe_ext.measure import clock
from probe_ext.measure.table_rows import ServerRow
from probe_ext.target.call_result import Answer, Failed
from probe_ext.target.endpoint_state import LOST_AFTER
from probe_ext.target.fetch import Fetcher
from probe_ext.target.poller import Poller, next_due

A, B = "http://a/metrics", "http://b/metrics"


class World:
    """A clock that only sleeping and fetching move, and everything that a poller said."""

    def __init__(self, *urls, answers):
        self.now = 100.0
        self.cost = 0.2
        self.answers = answers
        self.asked = []
        self.rows = []
        self.loops = []
        self.poller = Poller(
            urls, self.fetch, clock=lambda: self.now, sleep=self.sleep, spawn=self.loops.append,
            emit=self.rows.extend,
        )  # fmt: skip

    def fetch(self, url):
        self.asked.append((url, self.now))
        self.now += self.cost
        answer = self.answers(len(self.asked) - 1) if callable(self.answers) else self.answers
        return answer if isinstance(answer, Failed) else Answer(200, answer)

    def sleep(self, seconds):
        self.now += seconds
        if len(self.asked) >= self.until:
            self.poller.stop()

    def run(self, polls):
        self.until = polls
        self.poller.start()
        self.loops[0]()


def page(**figures):
    names = {"running": "num_requests_running", "tokens": "generation_tokens_total", "kv": "kv_cache_usage_perc"}
    lines = [f"vllm:{names[k]} {v}" for k, v in figures.items() if k in names]
    if "born" in figures:
        lines.append(f"process_start_time_seconds {figures['born']}")
    return ("\n".join(lines) + "\n").encode()


def test_rows_carry_the_middle_of_the_call():
    world = World(A, answers=page(running=3, kv=0.5))
    world.run(1)
    assert world.rows == [
        ServerRow(pytest.approx(100.1), A, "0", "running", 3.0),
        ServerRow(pytest.approx(100.1), A, "0", "kv_usage", 0.5),
    ]


def test_polls_do_not_drift():
    world = World(A, answers=page(running=1))
    world.run(5)
    assert [t for _, t in world.asked] == pytest.approx([100, 101, 102, 103, 104])


def test_a_late_poll_is_not_made_up_for():
    world = World(A, answers=page(running=1))
    world.cost = 2.5
    world.run(3)
    assert [t for _, t in world.asked] == pytest.approx([100, 103, 106])


@pytest.mark.parametrize(("now", "due"), [(10.0, 11.0), (10.3, 11.0), (11.0, 11.0), (11.01, 12.0), (15.5, 16.0)])
def test_the_grid(now, due):
    assert next_due(10.0, now, 1.0) == pytest.approx(due)


def test_each_url_has_its_own_loop():
    world = World(A, B, answers=page(running=1))
    world.poller.start()
    assert len(world.loops) == 2
    world.until = 1
    world.loops[1]()
    assert world.asked[0][0] == B


def test_failures_are_no_rows_and_end_in_a_finding():
    world = World(A, answers=Failed("401 needs a key", 401))
    world.run(6)
    assert world.rows == []
    (finding,) = world.poller.findings()
    assert finding["check"] == "server_metrics"
    assert finding["why"] == f"{A}: no metrics: 401 needs a key"
    assert set(finding) == {"check", "state", "invalidates", "why", "advice"}


def test_garbage_is_a_failure_with_its_reason():
    world = World(A, answers=b"<html></html>\n")
    world.run(1)
    assert world.poller.findings()[0]["why"] == f"{A}: no metrics: not Prometheus text: HTML"


def test_one_missed_second_is_a_finding():
    world = World(A, answers=lambda n: Failed("timed out") if n == 1 else page(running=1))
    world.run(4)
    assert len(world.rows) == 3
    assert world.poller.findings()[0]["why"] == f"{A}: 1 of 4 polls failed, first at 101 s: timed out"


def test_one_second_in_a_hundred_is_not_worth_a_finding():
    world = World(A, answers=lambda n: Failed("timed out") if n == 50 else page(running=1))
    world.run(100)
    assert world.poller.findings() == []


def test_lost_and_back():
    world = World(A, answers=lambda n: page(running=1) if n in (0, 7) else Failed("timed out"))
    world.run(8)
    assert world.poller.findings()[0]["why"] == f"{A}: 6 of 8 polls failed, first at 101 s: timed out"


def test_metrics_that_stopped_are_told():
    world = World(A, answers=lambda n: page(running=1) if n < 2 else Failed("connection refused"))
    world.run(2 + LOST_AFTER)
    assert world.poller.findings()[0]["why"] == f"{A}: metrics stopped: connection refused"


def test_a_quiet_run_has_no_findings():
    world = World(A, answers=lambda n: page(running=n, tokens=n * 10, born=1.7e9))
    world.run(5)
    assert world.poller.findings() == []


def test_a_counter_that_falls_is_a_restart():
    world = World(A, answers=lambda n: page(tokens=[10, 50, 5, 9][n]))
    world.run(4)
    assert "began anew at 102 s" in world.poller.findings()[0]["why"]
    assert [row.value for row in world.rows] == [10, 50, 5, 9], "the readers get what was said"


def test_a_jump_of_the_start_is_a_restart_even_when_counters_grew():
    world = World(A, answers=lambda n: page(tokens=n, born=1.7e9 + (60 if n > 1 else 0)))
    world.run(4)
    assert "began anew at 102 s" in world.poller.findings()[0]["why"]


def test_a_balancer_in_front_is_told_from_a_restart():
    world = World(A, answers=lambda n: page(tokens=n * 10 if n % 2 else n, born=1.7e9 + 5 * (n % 2)))
    world.run(6)
    assert world.poller.findings()[0]["why"] == f"{A}: the answers come from different servers in turn"


def test_a_balancer_is_told_without_a_process_start():
    world = World(A, answers=lambda n: page(tokens=n if n % 2 else n + 100))
    world.run(12)
    assert "different servers in turn" in world.poller.findings()[0]["why"]


def test_a_gauge_may_fall():
    world = World(A, answers=lambda n: page(running=9 - n, kv=0.9 - n / 10))
    world.run(4)
    assert world.poller.findings() == []


def test_a_call_that_does_not_end_is_told_while_it_lasts():
    world = World(A, answers=page(running=1))

    def hang(url):
        world.asked.append((url, world.now))
        world.now += 30
        world.told = world.poller.findings()
        return Answer(200, page(running=1))

    world.poller._fetch = hang
    world.run(1)
    assert world.told[0]["why"] == f"{A}: no metrics: an answer that does not end"


def test_one_that_hangs_delays_no_other():
    over = threading.Event()
    with Loopback({"/hangs": lambda h: over.wait(60), "/answers": (200, page(running=1))}) as server:
        rows = []
        poller = Poller(
            [f"{server.url}/hangs", f"{server.url}/answers"],
            Fetcher(timeout=60).get,
            clock=clock.monotonic,
            sleep=over.wait,
            spawn=lambda loop: threading.Thread(target=loop, daemon=True).start(),
            emit=rows.extend,
            period=0.05,
        )
        poller.start()
        until = clock.monotonic() + 60
        while len(rows) < 5 and clock.monotonic() < until:
            over.wait(0.01)
        poller.stop()
        over.set()
    assert len(rows) >= 5
    assert {row.url for row in rows} == {f"{server.url}/answers"}


def test_nothing_is_said_after_stop():
    world = World(A, answers=page(running=1))

    def stopped_meanwhile(url):
        world.poller.stop()
        return Answer(200, page(running=1))

    world.poller._fetch = stopped_meanwhile
    world.poller.poll(A)
    assert world.rows == []
    assert world.poller.findings() == []


def test_credentials_in_a_url_do_not_reach_the_rows():
    world = World("http://me:secret@a:8000/metrics?key=abc&model=m", answers=page(running=1))
    world.run(1)
    assert world.rows[0].url == "http://a:8000/metrics?key=hidden&model=m"
    assert world.asked[0][0].startswith("http://me:secret@")
