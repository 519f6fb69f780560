"""Poller: schedule, hanging servers, restarts, findings."""

import threading
from functools import partial

import pytest
from loopback import Loopback

from probe_ext.measure import clock
from probe_ext.measure.table_rows import ServerRow
from probe_ext.target.control.call_result import Answer, Failed
from probe_ext.target.control.fetch import Fetcher
from probe_ext.target.metrics.catalogue import read_page
from probe_ext.target.metrics.endpoint_state import LOST_AFTER
from probe_ext.target.metrics.poller import Poller, next_due

A, B = "http://a/metrics", "http://b/metrics"


class World:
    """A clock that advances with sleeping and fetching, and everything the poller emitted."""

    def __init__(self, *urls, answers):
        self.now = 100.0
        self.cost = 0.2
        self.answers = answers
        self.requests = []
        self.rows = []
        self.loops = []
        self.poller = Poller(
            urls, self.fetch, clock=lambda: self.now, sleep=self.sleep, spawn=self.loops.append,
            emit=self.rows.extend,
        )  # fmt: skip

    def fetch(self, url):
        self.requests.append((url, self.now))
        self.now += self.cost
        answer = self.answers(len(self.requests) - 1) if callable(self.answers) else self.answers
        return answer if isinstance(answer, Failed) else Answer(200, answer)

    def sleep(self, seconds):
        self.now += seconds
        if len(self.requests) >= self.until:
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


def test_rows_have_the_time_of_the_middle_of_the_request():
    world = World(A, answers=page(running=3, kv=0.5))
    world.run(1)
    assert world.rows == [
        ServerRow(pytest.approx(100.1), A, "0", "running", 3.0, pytest.approx(0.2)),
        ServerRow(pytest.approx(100.1), A, "0", "kv_usage", 0.5, pytest.approx(0.2)),
    ]


def test_polls_do_not_drift():
    world = World(A, answers=page(running=1))
    world.run(5)
    assert [t for _, t in world.requests] == pytest.approx([100, 101, 102, 103, 104])


def test_a_slow_page_is_read_as_slowly_as_it_allows_and_that_is_said():
    world = World(A, answers=page(running=1))
    world.cost = 2.5
    world.run(3)
    assert [t for _, t in world.requests] == pytest.approx([100, 105, 110])
    assert [row.width for row in world.rows] == pytest.approx([2.5, 2.5, 2.5])
    assert [row.t for row in world.rows] == pytest.approx([101.25, 106.25, 111.25])
    assert world.poller.findings()[0]["why"].startswith(f"{A}: each answer takes 2.5 s on average")


def test_a_late_poll_is_skipped():
    world = World(A, answers=page(running=1))
    world.cost = 0.4
    world.run(2)
    world.now += 1.7
    world.poller._stopped = False
    world.until = 4
    world.loops[0]()
    assert [t - world.requests[2][1] for _, t in world.requests[2:]] == pytest.approx([0, 1])


def test_impossible_values_make_a_finding_and_no_rows():
    world = World(A, answers=lambda n: page(running=1, kv=-0.25 if n % 2 else 0.5))
    world.run(4)
    assert [row.value for row in world.rows if row.quantity == "kv_usage"] == [0.5, 0.5]
    assert world.poller.findings()[0]["why"] == f"{A}: impossible values are left out: kv_usage -0.25 (2 times)"


def test_a_counter_that_contradicts_the_clock_is_said():
    world = World(A, answers=lambda n: page(tokens=n * 10 + (5e9 if n > 2 else 0)))
    world.run(5)
    why = world.poller.findings()[0]["why"]
    assert why == f"{A}: counters contradict the clock: generation_tokens grew by 5,000,000,010 in 1.0 s"


def test_series_of_other_models_make_a_finding():
    lines = [f'vllm:num_requests_running{{model_name="{name}"}} 1' for name in ("a", "b")]
    world = World(A, answers="\n".join([*lines, ""]).encode())
    world.poller._read = partial(read_page, model="a")
    world.run(1)
    assert world.poller.findings()[0]["why"] == f"{A}: series of other models are left out: b"
    assert [row.value for row in world.rows] == [1.0]


@pytest.mark.parametrize(("now", "due"), [(10.0, 11.0), (10.3, 11.0), (11.0, 11.0), (11.01, 12.0), (15.5, 16.0)])
def test_next_due(now, due):
    assert next_due(10.0, now, 1.0) == pytest.approx(due)


def test_each_url_has_its_own_loop():
    world = World(A, B, answers=page(running=1))
    world.poller.start()
    assert len(world.loops) == 2
    world.until = 1
    world.loops[1]()
    assert world.requests[0][0] == B


def test_failures_make_a_finding_and_no_rows():
    world = World(A, answers=Failed("401 requires a key", 401))
    world.run(6)
    assert world.rows == []
    (finding,) = world.poller.findings()
    assert finding["check"] == "server_metrics"
    assert finding["why"] == f"{A}: no metrics: 401 requires a key"
    assert set(finding) == {"check", "state", "invalidates", "why", "advice"}


def test_an_invalid_page_is_a_failure_with_a_reason():
    world = World(A, answers=b"<html></html>\n")
    world.run(1)
    assert world.poller.findings()[0]["why"] == f"{A}: no metrics: not Prometheus text: HTML"


def test_a_failed_poll_is_a_finding():
    world = World(A, answers=lambda n: Failed("timed out") if n == 1 else page(running=1))
    world.run(4)
    assert len(world.rows) == 3
    assert world.poller.findings()[0]["why"] == f"{A}: 1 of 4 polls failed, first at 101 s: timed out"


def test_one_percent_failed_polls_is_not_a_finding():
    world = World(A, answers=lambda n: Failed("timed out") if n == 50 else page(running=1))
    world.run(100)
    assert world.poller.findings() == []


def test_a_recovered_outage():
    world = World(A, answers=lambda n: page(running=1) if n in (0, 7) else Failed("timed out"))
    world.run(8)
    assert world.poller.findings()[0]["why"] == f"{A}: 6 of 8 polls failed, first at 101 s: timed out"


def test_metrics_that_stopped_are_a_finding():
    world = World(A, answers=lambda n: page(running=1) if n < 2 else Failed("connection refused"))
    world.run(2 + LOST_AFTER)
    assert world.poller.findings()[0]["why"] == f"{A}: metrics stopped: connection refused"


def test_a_normal_run_has_no_findings():
    world = World(A, answers=lambda n: page(running=n, tokens=n * 10, born=1.7e9))
    world.run(5)
    assert world.poller.findings() == []


def test_a_decreasing_counter_is_a_restart():
    world = World(A, answers=lambda n: page(tokens=[10, 50, 5, 9][n]))
    world.run(4)
    assert "were reset at 102 s" in world.poller.findings()[0]["why"]
    assert [row.value for row in world.rows] == [10, 50, 5, 9], "rows keep the server's values"


def test_a_new_process_start_is_a_restart():
    world = World(A, answers=lambda n: page(tokens=n, born=1.7e9 + (60 if n > 1 else 0)))
    world.run(4)
    assert "were reset at 102 s" in world.poller.findings()[0]["why"]


def test_a_load_balancer_is_not_a_restart():
    world = World(A, answers=lambda n: page(tokens=n * 10 if n % 2 else n, born=1.7e9 + 5 * (n % 2)))
    world.run(6)
    assert world.poller.findings()[0]["why"] == f"{A}: responses alternate between different servers"


def test_a_load_balancer_without_process_starts():
    world = World(A, answers=lambda n: page(tokens=n if n % 2 else n + 100))
    world.run(12)
    assert "alternate between different servers" in world.poller.findings()[0]["why"]


def test_a_gauge_may_decrease():
    world = World(A, answers=lambda n: page(running=9 - n, kv=0.9 - n / 10))
    world.run(4)
    assert world.poller.findings() == []


def test_a_hanging_request_is_a_finding():
    world = World(A, answers=page(running=1))

    def hang(url):
        world.requests.append((url, world.now))
        world.now += 30
        world.findings = world.poller.findings()
        return Answer(200, page(running=1))

    world.poller._fetch = hang
    world.run(1)
    assert world.findings[0]["why"] == f"{A}: no metrics: the response does not end"


def test_a_hanging_server_does_not_delay_others():
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
        until = clock.monotonic() + 300
        while len(rows) < 5 and clock.monotonic() < until:
            over.wait(0.01)
        poller.stop()
        over.set()
    assert len(rows) >= 5
    assert {row.url for row in rows} == {f"{server.url}/answers"}


def test_emits_nothing_after_stop():
    world = World(A, answers=page(running=1))

    def stopped_meanwhile(url):
        world.poller.stop()
        return Answer(200, page(running=1))

    world.poller._fetch = stopped_meanwhile
    world.poller.poll(A)
    assert world.rows == []
    assert world.poller.findings() == []


def test_rows_contain_no_credentials():
    world = World("http://me:secret@a:8000/metrics?key=abc&model=m", answers=page(running=1))
    world.run(1)
    assert world.rows[0].url == "http://a:8000/metrics?key=hidden&model=m"
    assert world.requests[0][0].startswith("http://me:secret@")


def test_the_last_poll_of_all_urls_together_is_bounded():
    with Loopback({"/answers": (200, page(running=1)), "/hangs": lambda _: threading.Event().wait(5)}) as server:
        rows, urls = [], [f"{server.url}/answers", f"{server.url}/hangs", f"{server.url}/hangs?2"]
        poller = Poller(
            urls,
            Fetcher(timeout=20.0).get,
            clock=clock.monotonic,
            sleep=lambda seconds: threading.Event().wait(seconds),
            spawn=lambda call: threading.Thread(target=call, daemon=True).start(),
            emit=rows.extend,
        )
        began = clock.monotonic()
        poller.poll_last(0.5)
        assert clock.monotonic() - began < 2
        assert {row.url for row in rows} == {urls[0]}


def test_the_last_poll_waits_for_the_one_in_progress():
    """Two polls of a URL at once would mix up its history."""
    world = World(A, answers=page(running=1))
    history = world.poller._histories[A]
    history.request_started_at = world.now
    world.until = 99

    def sleep(seconds):
        world.now += seconds
        if world.now > 100.3:
            history.request_started_at = None
        for loop in world.loops:
            if not started:
                started.append(loop)
                loop()

    started = []
    world.poller._sleep = sleep
    world.poller.poll_last(2.0)
    assert len(world.requests) == 1
    assert world.requests[0][1] > 100.3
