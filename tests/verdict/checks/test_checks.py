"""Validity checks of a run: passing, failing, and without the data they need."""

import tracemalloc
from typing import Any

import pytest
from worlds import CHAT, LEVEL_S, columns, evidence, good, manifest, mixed, reply, staircase, steady, worker

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.sketch import LatencySketch
from probe_ext.measure.table_rows import GpuRow, ReplyRow, ServerRow
from probe_ext.verdict.checks.client_accuracy import accuracy_checks
from probe_ext.verdict.checks.outage import outage
from probe_ext.verdict.evidence.evidence import Evidence, LocustCounts, Window
from probe_ext.verdict.judge import judge
from probe_ext.verdict.values.finding import Finding

GOOD = steady(2, 0, 30)


def run(rows: list[ReplyRow] = GOOD, **changes: Any) -> Evidence:
    """Return a run in order, except for the changes."""
    return evidence(rows, staircase((2, 30)), **changes)


def with_worker(rows: list[ReplyRow] = GOOD, **changes: Any) -> Evidence:
    return run(rows, manifest=manifest(workers=[worker(**{"started": len(rows), **changes})]))


def metrics(generation: float = 400.0, **quantities: tuple[float, ...]) -> list[ServerRow]:
    counted = [ServerRow(0.0, "u", "0", "generation_tokens", 0.0)]
    counted.append(ServerRow(60.0, "u", "0", "generation_tokens", generation))
    rest = [ServerRow(float(t), "u", "0", q, v) for q, values in quantities.items() for t, v in enumerate(values)]
    return [*counted, *rest]


def lags(*values: float, metric: str = "lag") -> list[Window]:
    sketch = LatencySketch()
    sketch.add(values)
    return [Window(metric, 0.0, 5.0, None, sketch)]


def finding(check: str, evidence_of: Evidence) -> Finding:
    found = [one for one in judge(evidence_of, CHAT).findings if one.check == check]
    assert len(found) == 1
    assert found[0].why
    return found[0]


def result(check: str, evidence_of: Evidence) -> tuple[str, bool]:
    one = finding(check, evidence_of)
    assert one.advice or one.state != "fail" or check in {"files"}
    return one.state, one.makes_invalid


def test_a_valid_run_passes_every_check() -> None:
    rows = good(4)
    counted = metrics(sum(r.tokens_out or 0 for r in rows), requests_finished=(0.0, float(len(rows))))
    verdict = judge(evidence(rows, staircase((4, LEVEL_S)), server=counted), CHAT)
    not_passed = {one.check: one.state for one in verdict.findings if one.state != "pass"}
    assert not_passed == {
        "other_load": "unproven",
        "output_lengths": "unproven",
        "steady": "unproven",
        "drift": "unproven",
    }
    assert verdict.verdict == "valid"


def test_missing_data_leave_checks_unproven_and_the_run_valid() -> None:
    bare = Evidence({}, {}, {}, {}, (), {}, None, ())
    verdict = judge(bare, CHAT)
    assert not any(one.makes_invalid for one in verdict.findings)
    unproven = {one.check for one in verdict.findings if one.state == "unproven"}
    assert {
        "accounted",
        "workers",
        "locust_counts",
        "receive_lag",
        "late_starts",
        "server_tokens",
        "levels",
    } <= unproven


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("pass", False)),
        ({"started": 999}, ("fail", True)),
        ({"started": 1}, ("fail", True)),
        ({"started": None}, ("unproven", False)),
    ],
)
def test_started_replies_are_accounted_for(changes: dict[str, Any], expected: tuple[str, bool]) -> None:
    assert result("accounted", with_worker(**changes)) == expected


def test_a_kill_excuses_only_replies_in_flight() -> None:
    def killed(started: int) -> Evidence:
        return run(manifest=manifest(end_reason=None, ended_at=None, duration=None, workers=[worker(started=started)]))

    assert result("accounted", killed(len(GOOD) + 2)) == ("unproven", False)
    assert result("accounted", killed(len(GOOD) - 2)) == ("unproven", False), (
        "rows were written after the last update of the manifest"
    )
    assert result("accounted", killed(len(GOOD) + 3)) == ("fail", True)


def test_rows_of_one_worker_do_not_count_for_another() -> None:
    workers = [worker(started=len(GOOD) - 5), worker(id="w2", started=5)]
    assert result("accounted", run(manifest=manifest(workers=workers))) == ("fail", True)


@pytest.mark.parametrize(
    "changes", [{"lost_at": 20.0, "last_word": False, "away": [[20.0, None]]}, {"last_word": None}]
)
def test_a_lost_worker_is_a_warning(changes: dict[str, Any]) -> None:
    assert result("workers", with_worker(**changes)) == ("fail", False)
    assert "is not known" in finding("workers", with_worker(**changes)).why


def test_only_workers_of_a_master_are_said_to_keep_a_backup() -> None:
    assert "probe merge" not in finding("workers", with_worker(last_word=False)).advice
    assert "probe merge" in finding("workers", with_worker(last_word=False, lost_at=20.0)).advice


def test_a_worker_that_left_early_is_named_with_the_time() -> None:
    left = with_worker(host="box-2", left_at=13.4)
    assert result("workers", left) == ("fail", False)
    assert "box-2 left at 0:13" in finding("workers", left).why


def test_a_worker_out_of_contact_is_named_with_the_times() -> None:
    back = finding("workers", with_worker(away=[[12.0, 25.0]]))
    assert (back.state, back.invalidates) == ("fail", False)
    assert "out of contact from 0:12 to 0:25" in back.why
    assert "None of its rows is missing" in back.why
    lost = finding("workers", with_worker(away=[[12.0, 25.0], [30.0, None]], lost_at=30.0, last_word=False))
    assert "from 0:12 to 0:25" in lost.why
    assert "was lost at 0:30" in lost.why
    assert "probe merge" in lost.advice


def test_locusts_counts_must_agree() -> None:
    rows = [*GOOD, reply(0, 28.0, outcome=Outcome.ENDED_BY_US, end=28.5), reply(1, 28.0, outcome=Outcome.CUT)]
    assert result("locust_counts", run(rows, locust=LocustCounts(len(GOOD) + 1, 1))) == ("pass", False)
    assert result("locust_counts", run(rows, locust=LocustCounts(len(GOOD) + 1, 0))) == ("fail", False)
    assert result("locust_counts", run(rows, locust=LocustCounts(len(GOOD), 1))) == ("fail", False)
    assert result("locust_counts", run(rows, locust=None)) == ("unproven", False)


@pytest.mark.parametrize(
    ("line", "invalidates"),
    [
        ("requests.csv: lines 3, 5: not valid rows of this table, ignored", True),
        ("requests.csv: line 9: cut off (no line end), ignored", False),
        ("gaps.csv: missing", False),
    ],
)
def test_damaged_files(line: str, invalidates: bool) -> None:
    assert result("files", run(damage=(line,))) == ("fail", invalidates)


@pytest.mark.parametrize(
    ("calibration", "stamps", "text"),
    [
        ({"receive_stamps": "kernel", "gap_error_p99": 12e-6}, "kernel", "accurate to 12 µs"),
        ({"receive_stamps": "kernel", "gap_error_p99": 12e-6}, "read", None),
        ({"receive_stamps": "read", "gap_error_p99": 12e-6}, "kernel", None),
        ({"receive_stamps": "kernel", "gap_error_p99": None}, "kernel", None),
        (None, "kernel", None),
        ("spoilt", "kernel", None),
    ],
)
def test_the_measurement_error_is_stated_if_calibrated_with_the_same_timestamps(
    calibration: object, stamps: str, text: str | None
) -> None:
    workers = [{"id": "w1", "receive_stamps": stamps}]
    rows = [reply(u, 6.0 + t, reads=10, reads_unresolved=1) for t in range(20) for u in range(2)]
    world = run(rows, manifest=manifest(workers=workers, calibration=calibration), windows=lags(*[0.001] * 100))
    why = next(finding.why for finding in accuracy_checks(world) if finding.check == "receive_lag")
    assert ("accurate to" in why) is (text is not None)
    if text:
        assert text in why
        assert "of reads with several tokens" in why


def test_faults_of_the_load_generator() -> None:
    one = [*GOOD, reply(0, 28.0, outcome=Outcome.CLIENT_ERROR)]
    assert result("client_faults", run(one)) == ("fail", True)
    assert result("client_faults", run([*GOOD * 12, one[-1]])) == ("fail", False)


def test_a_killed_run_is_a_warning() -> None:
    for reason in (None, "levels_done", "interrupted"):  # killed in the middle, or while it ended
        killed = run(manifest=manifest(end_reason=reason, ended_at=None, duration=None))
        assert result("ended", killed) == ("fail", False)


@pytest.mark.parametrize(
    ("lag", "stamps", "expected"),
    [
        (0.04, "kernel", ("pass", False)),
        (0.08, "kernel", ("fail", False)),
        (0.04, "read", ("pass", False)),
        (0.08, "read", ("fail", False)),
        (0.08, None, ("fail", False)),
        (0.30, "read", ("fail", True)),
        (0.30, "kernel", ("fail", False)),
    ],
)
def test_receive_lag(lag: float, stamps: str | None, expected: tuple[str, bool]) -> None:
    workers = [worker(started=len(GOOD), receive_stamps=stamps)]
    assert result("receive_lag", run(manifest=manifest(workers=workers), windows=lags(*[lag] * 100))) == expected


def test_deliberate_coalescing_is_separated_from_lag() -> None:
    both = [*lags(*[0.008] * 100), *lags(*[0.0004] * 100, metric="overdue")]
    assert (
        "within 8.0 ms of the data's arrival, 0.40 ms without deliberate coalescing"
        in finding("receive_lag", run(windows=both)).why
    )
    assert "coalescing" not in finding("receive_lag", run(windows=both[:1])).why


def test_receive_lag_is_the_99th_percentile_over_all_windows() -> None:
    windows = lags(*[0.001] * 995) + lags(*[0.2] * 5)
    assert result("receive_lag", run(windows=windows)) == ("pass", False)
    assert windows[0].sketch is not None
    assert windows[0].sketch.count == 995, "the evidence is not modified"


@pytest.mark.parametrize(
    ("check", "changes", "expected"),
    [
        ("loop_lag", {"loop_lag_max": 0.3}, ("fail", False)),
        ("loop_lag", {"loop_lag_max": 2.0, "receive_stamps": "read"}, ("fail", True)),
        ("loop_lag", {"loop_lag_max": None}, ("unproven", False)),
        ("worker_cpu", {"cpu_seconds": 95.0}, ("fail", False)),
        ("worker_cpu", {"cpu_seconds": 50.0}, ("pass", False)),
        ("worker_cpu", {"cpu_seconds": None}, ("unproven", False)),
        ("clocks", {"clock_error": 0.02}, ("fail", False)),
        ("clocks", {"clock_error": None}, ("unproven", False)),
    ],
)
def test_the_load_of_a_worker(check: str, changes: dict[str, Any], expected: tuple[str, bool]) -> None:
    assert result(check, with_worker(**changes)) == expected


@pytest.mark.parametrize(
    ("host", "cause"),
    [("http://127.0.0.1:8000", "probably the server, which runs there too,"), ("http://gpu:8000", "something else")],
)
def test_on_one_machine_the_server_is_named_as_what_kept_it_busy(host: str, cause: str) -> None:
    late = worker(started=len(GOOD), loop_lag_max=1.5, cpu_seconds=3.0)
    found = judge(run(GOOD, manifest=manifest(workers=[late], target={"host": host, "model": "m"})), CHAT).findings
    advice = next(finding.advice for finding in found if finding.check == "loop_lag")
    assert f"only 3 % of a core, so {cause} kept its machine busy." in advice


@pytest.mark.parametrize(("late", "expected"), [(0.05, ("pass", False)), (0.5, ("fail", False)), (1.5, ("fail", True))])
def test_late_starts(late: float, expected: tuple[str, bool]) -> None:
    rows = [reply(u, 6.0 + t, late=late) for t in range(20) for u in range(2)]
    assert result("late_starts", run(rows)) == expected


def test_unresolved_reads() -> None:
    rows = [reply(u, 6.0 + t, reads=10, reads_unresolved=2) for t in range(20) for u in range(2)]
    assert result("unresolved_reads", run(rows)) == ("fail", False)


def test_a_server_without_metrics_is_a_warning() -> None:
    state = manifest(server=[{"url": "http://s/metrics", "metrics": "HTTP 404"}], workers=[worker(started=len(GOOD))])
    assert result("server_metrics", run(manifest=state)) == ("fail", False)
    assert "HTTP 404" in finding("server_metrics", run(manifest=state)).why
    assert not finding("server_metrics", run(manifest=state)).makes_invalid
    live_finding = {"check": "server_metrics", "state": "fail", "invalidates": False, "why": "live", "advice": "look"}
    assert finding("server_metrics", run(manifest={**state, "findings": [live_finding]})).why == "live"


def test_an_outage_at_the_end_fails_no_level() -> None:
    level = [reply(user, 6.0 + t) for t in range(20) for user in range(2)]
    broken = [reply(user, 26.5, outcome="truncated", tokens_out=1) for user in range(2)]
    refused = [reply(0, 27.0 + t / 9, outcome="connect_failed") for t in range(60)]
    with_outage, without = (judge(run([*level, *more]), CHAT) for more in ([*broken, *refused], []))
    assert [one.state for one in with_outage.levels] == [one.state for one in without.levels] != ["failed"]
    assert with_outage.sentence.startswith("The server stopped answering during the run; until then: ")


def test_a_level_in_which_the_server_went_away_ends_there() -> None:
    rows = [reply(user, 6.0 + t, last=6.9 + t, end=6.9 + t) for t in range(20) for user in range(2)]
    refused = [reply(0, 27.0 + t / 9, outcome="connect_failed") for t in range(90)]
    gauges = [ServerRow(5.0 + t, "u", "0", name, value) for t in range(21)
              for name, value in (("running", 2.0), ("waiting", 0.0), ("kv_usage", 0.1))]  # fmt: skip
    found = judge(run([*rows, *refused], server=gauges), CHAT)
    (level,) = found.levels
    assert level.t_end == pytest.approx(25.9)
    assert "other_load" not in found.diagnosis.bounds


def test_a_server_that_stays_down() -> None:
    fine = [reply(0, 6.0 + t) for t in range(6)]
    refused = [reply(0, 20.0 + t, outcome="connect_failed") for t in range(5)]
    one = finding("server_gone", run([*fine, *refused]))
    assert (one.state, one.invalidates) == ("fail", False)
    assert "The server stopped answering: from 0:12 on no connection succeeded (5 replies" in one.why
    assert result("server_gone", run(fine)) == ("pass", False)
    assert result("server_gone", run([*fine, *refused[:2]])) == ("pass", False), "a short outage"
    assert result("server_gone", run([*fine, *refused, reply(0, 40.0)])) == ("pass", False), "it came back"
    ours = reply(0, 40.0, outcome="ended_by_us")
    assert result("server_gone", run([*fine, *refused, ours])) == ("fail", False), "an aborted reply reached no server"
    assert result("server_gone", run(refused)) == ("unproven", False)


def test_a_damaged_outcome_of_megabytes_takes_no_memory_for_other_rows() -> None:
    evidence = run([*(reply(0, 6.0 + t) for t in range(99)), reply(1, 6.0, outcome="x" * 1_000_000)])
    tracemalloc.start()
    try:
        assert outage(evidence).finding.state == "pass"
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()


def test_a_restarted_server() -> None:
    assert result("server_restarted", run(server=metrics(preemptions=(9.0, 1.0)))) == ("fail", False)
    assert result("server_restarted", run(server=metrics())) == ("pass", False)
    assert result("server_restarted", run()) == ("unproven", False)


@pytest.mark.parametrize(
    ("counted", "state", "word"),
    [(320.0, "pass", "agree"), (360.0, "pass", "agree"), (400.0, "fail", "generated"), (200.0, "fail", "generated")],
)
def test_the_servers_token_count(counted: float, state: str, word: str) -> None:
    rows = [reply(0, 6.0 + t) for t in range(16)]
    one = finding("server_tokens", run(rows, server=metrics(counted)))
    assert one.state == state
    assert word in one.why
    assert ("cache" in one.advice) == (counted == 200.0)
    big = [reply(0, 6.0 + t / 100, tokens_out=1000) for t in range(100)]
    assert finding("server_tokens", run(big, server=metrics(101_900.0))).state == "pass", "within 2 %"


def polled(*values: float, width: float | None = None) -> list[ServerRow]:
    """Return a counter of tokens, read once a second."""
    return [ServerRow(float(t), "u", "0", "generation_tokens", v, width) for t, v in enumerate(values)]


def test_counters_that_never_move_are_not_believed() -> None:
    frozen = run(server=[*polled(*[7.0] * 30), *[ServerRow(float(t), "u", "0", "kv_usage", 0.0) for t in range(30)]])
    one = finding("server_metrics", frozen)
    assert (one.state, "did not move while" in one.why, "--metrics-url" in one.advice) == ("fail", True, True)
    assert all(level.kv_usage_max is None for level in judge(frozen, CHAT).levels)
    assert finding("server_tokens", frozen).state == "unproven"


def test_counters_that_stand_still_for_long_are_told() -> None:
    cached = [float(400 * (t // 15)) for t in range(30)]
    one = finding("server_metrics", run(server=polled(*cached)))
    assert (one.state, "stood still for 14 s" in one.why) == ("fail", True)


@pytest.mark.parametrize(
    "server",
    [
        polled(*[40.0 * t for t in range(30)]),
        [ServerRow(float(t), "u", "0", "generation_tokens", 40.0 * t) for t in (0, 15, 30)],  # read seldom
        [
            *polled(*[40.0 * t for t in range(30)]),
            *[ServerRow(float(t), "v", "0", "generation_tokens", 9.0) for t in range(30)],
        ],
        [ServerRow(float(t), "u", "0", "running", 2.0) for t in range(30)],  # a gauge may stay as it is
    ],
    ids=["moving", "read seldom", "one engine idle", "no counters"],
)
def test_counters_that_move_or_need_not_are_not_called_still(server: list[ServerRow]) -> None:
    assert "still" not in finding("server_metrics", run(server=server)).why
    assert "did not move" not in finding("server_metrics", run(server=server)).why


def test_replies_within_the_reading_of_a_slow_page_may_be_missing_from_it() -> None:
    rows = [reply(0, 6.0 + t) for t in range(16)]  # 20 tokens each, half a second long
    slow = [ServerRow(t, "u", "0", "generation_tokens", v, 6.0) for t, v in ((8.0, 100.0), (60.0, 320.0))]
    assert finding("server_tokens", run(rows, server=slow)).state == "unproven"


def test_a_counter_that_was_read_late_proves_nothing() -> None:
    """Tokens received before the first scrape are not in the counter's growth."""
    rows = [reply(0, 6.0 + t) for t in range(16)]  # 20 tokens each
    late = [ServerRow(t, "u", "0", "generation_tokens", v) for t, v in ((11.5, 120.0), (60.0, 320.0))]
    assert finding("server_tokens", run(rows, server=late)).state == "unproven"
    beyond = [ServerRow(t, "u", "0", "generation_tokens", v) for t, v in ((11.5, 120.0), (60.0, 140.0))]
    assert finding("server_tokens", run(rows, server=beyond)).state == "fail", (
        "more is missing than the counter could have missed"
    )
    more = [ServerRow(t, "u", "0", "generation_tokens", v) for t, v in ((11.5, 120.0), (60.0, 640.0))]
    assert finding("server_tokens", run(rows, server=more)).state == "fail", "a late sample does not explain a surplus"


@pytest.mark.parametrize(
    ("changes", "state", "word"),
    [
        ({}, "pass", "1 server read from a Prometheus, scraped every 2.0 s"),
        ({"every": 15.0}, "fail", "Peaks of KV-cache usage and queue"),
        ({"gaps": 2}, "fail", "2 intervals"),
        ({"clock_offset": -4.2}, "fail", "4.2 s behind"),
        ({"clock_offset": -0.4}, "pass", "scraped"),
        ({"servers": "nonsense", "clock_offset": None}, "pass", "0 servers"),
    ],
)
def test_the_quality_of_prometheus_data_is_stated(changes: dict[str, Any], state: str, word: str) -> None:
    server = {"every": changes.pop("every", 2.0), "gaps": changes.pop("gaps", 0)}
    asked = {"servers": [server], "clock_offset": 0.1, "clock_error": 0.05, **changes}
    unread = [{"url": "u", "metrics": "404"}]  # the endpoint itself was not reachable
    one = finding("server_metrics", run(server=metrics(), manifest=manifest(prometheus=asked, server=unread)))
    assert (one.state, one.makes_invalid) == (state, False)
    assert word in one.why
    assert bool(one.advice) == (state == "fail")


def test_a_prometheus_run_says_that_gpus_are_missing() -> None:
    asked = {"servers": [{"every": 2.0, "gaps": 0}], "clock_offset": 0.0, "clock_error": 0.0}
    one = finding("server_metrics", run(server=metrics(), manifest=manifest(prometheus=asked)))
    assert "GPUs are not read from it" in one.why
    with_gpu = run(
        server=metrics(),
        manifest=manifest(prometheus=asked),
        gpu=columns([GpuRow(1.0, "u", "0", "gpu_power", 90.0)], GpuRow),
    )
    assert "GPUs" not in finding("server_metrics", with_gpu).why


def test_times_of_the_server_that_cannot_be_are_left_out_and_said() -> None:
    rows = [reply(0, 6.0 + t, server_ttft=9.0 if t % 2 else 0.01) for t in range(16)]
    found = run(rows, server=polled(*[40.0 * t for t in range(30)]))
    one = finding("server_metrics", found)
    assert (one.state, "In 8 replies, the server's own TTFT is longer than ours" in one.why) == ("fail", True)
    assert all(level.server_ttft_p50 == 0.01 for level in judge(found, CHAT).levels if level.server_ttft_p50)
    assert any(level.server_ttft_p50 for level in judge(found, CHAT).levels)


def missing(user: int, sent: float, **changes: Any) -> ReplyRow:
    """Return a reply that failed with HTTP 404."""
    refused = {"first": None, "tokens_out": None, "end": sent + 0.01, "outcome": Outcome.HTTP_ERROR, "status": 404}
    return reply(user, sent, **{**refused, **changes})


def test_a_model_that_vanishes_during_the_run_spoils_it() -> None:
    gone = run([*GOOD, *(missing(u, 20.0 + t) for t in range(1, 6) for u in range(2))])
    assert result("model_vanished", gone) == ("fail", False)
    one = finding("model_vanished", gone)
    assert "10 replies failed with HTTP 404 from 0:21 on" in one.why
    assert "server's log" in one.advice
    assert judge(gone, CHAT).verdict == "invalid"


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([], id="no 404"),
        pytest.param([missing(2, 1.0)], id="before the first answer"),
        pytest.param([missing(2, 20.0, status=500)], id="another error"),
        pytest.param([missing(2, 20.0, scenario="a name of its own")], id="a model that never answered"),
        pytest.param([missing(2, 20.0, kind="completion")], id="the other API, which never answered"),
    ],
)
def test_other_404s_are_not_a_vanished_model(rows: list[ReplyRow]) -> None:
    early = [row for row in GOOD if row.sent is not None and row.sent >= 2.0]
    assert result("model_vanished", run([*rows, *early])) == ("pass", False)


def unauthorized(user: int, sent: float) -> ReplyRow:
    return missing(user, sent, status=401, worker="w2")


def test_rejected_api_keys_invalidate_the_run() -> None:
    mixed = run([*GOOD, *(unauthorized(2, float(t)) for t in range(5, 15))])
    assert result("api_key", mixed) == ("fail", True)
    one = finding("api_key", mixed)
    assert "10 replies failed with HTTP 401" in one.why
    assert "10 of worker w2" in one.why
    assert "PROBE_API_KEY" in one.advice
    assert judge(mixed, CHAT).verdict == "invalid"
    few = run([*steady(20, 0, 60), unauthorized(2, 7.0)])
    assert result("api_key", few) == ("fail", False)
    assert result("api_key", run([*GOOD, missing(2, 7.0, status=403)])) == ("pass", False)  # may have other reasons


def test_a_single_load_generator_has_no_name_and_several_have_host_names() -> None:
    def whys(*workers: dict[str, Any]) -> dict[str, str]:
        rows = [*GOOD, *(missing(2, float(t), status=401, worker="vm_8d2e32") for t in range(5, 15))]
        found = judge(run(rows, manifest=manifest(workers=list(workers))), CHAT).findings
        return {one.check: one.why for one in found if one.check in {"api_key", "workers", "loop_lag", "accounted"}}

    late = {"id": "vm_8d2e32", "started": 12, "loop_lag_max": 3.0, "last_word": False}
    alone = whys(worker(**late))
    assert not [why for why in alone.values() if "vm_8d2e32" in why]
    assert alone["workers"].startswith("The load generator never sent its final report")
    assert "(the load generator)" in alone["accounted"]
    apart = whys(worker(started=len(GOOD)), worker(**late, host="box-2"))
    assert "(10 of worker box-2)" in apart["api_key"]
    assert "(worker box-2)" in apart["loop_lag"]
    together = whys(worker(started=len(GOOD), host="box-2"), worker(**late, host="box-2"))
    assert together["workers"].startswith("Worker 2 on box-2 never sent its final report")
    assert "(worker 2 on box-2)" in together["accounted"]
    nameless = whys(worker(started=len(GOOD)), worker(**late, host=None))
    assert "worker vm_8d2e32" in nameless["api_key"]


def outside(sent: float, outcome: Outcome = Outcome.CONNECT_FAILED) -> ReplyRow:
    return missing(2, sent, outcome=outcome, worker="w2")


def test_a_worker_that_never_reached_the_server_invalidates_the_run() -> None:
    cut = run([*GOOD, *(outside(float(t)) for t in range(5, 15))])
    assert result("reach", cut) == ("fail", True)
    one = finding("reach", cut)
    assert "No request of worker w2 (10 replies) reached the server" in one.why
    assert "routing" in one.advice
    assert judge(cut, CHAT).verdict == "invalid"
    timed_out = [outside(float(t), Outcome.CONNECT_TIMEOUT) for t in range(5, 15)]
    assert result("reach", run([*GOOD, *timed_out])) == ("fail", True)


def test_an_outage_for_all_workers_or_a_short_one_is_the_servers_own() -> None:
    away = [outside(float(t)) for t in range(5, 15)]
    assert result("reach", run([*GOOD, *away, missing(2, 15.0, worker="w2")])) == (
        "pass",
        False,
    )  # it reached the server
    assert result("reach", run([*GOOD, *away[:2]])) == ("pass", False)
    both = [*away, *(missing(1, float(t), outcome=Outcome.CONNECT_FAILED, worker="w1") for t in range(5, 15))]
    assert result("reach", run(both)) == ("pass", False)


def test_later_turns_of_a_chat_use_the_same_model() -> None:
    assert result("model_vanished", run([*GOOD, missing(0, 20.0, kind="turn")])) == ("fail", False)


def test_tokens_counted_by_events() -> None:
    rows = [reply(0, 6.0 + t, tokens_from="events") for t in range(16)]
    assert result("token_source", run(rows)) == ("fail", False)


def test_unproven_levels_are_named() -> None:
    few = finding("levels", run([reply(0, 6.0), reply(1, 6.0)]))
    assert few.state == "unproven"
    assert few.why.startswith(
        "Not decided: 2 users (all served so far, too few replies for a proof; 100 % of replies served, "
    )
    assert "more replies would settle it)" in few.why


def test_a_level_too_close_to_call_says_why() -> None:
    close = finding("levels", evidence(mixed(8, 0.92), staircase((8, LEVEL_S))))
    assert close.why.startswith("Not decided: 8 users (too close to call; 9")


def test_prompts_from_the_cache() -> None:
    rows = [reply(u, 6.0 + t, tokens_cached=80) for t in range(20) for u in range(2)]
    assert result("prompt_cache", run(rows)) == ("fail", False)
    shared = manifest(prompts={"input_tokens": 100, "shared_prefix_tokens": 60}, workers=[worker(started=len(rows))])
    assert result("prompt_cache", run(rows, manifest=shared)) == ("pass", False)
    unreported = [reply(u, 6.0 + t, tokens_cached=None) for t in range(20) for u in range(2)]
    assert result("prompt_cache", run(unreported)) == ("unproven", False)


def test_prompts_of_a_file_that_are_sent_again() -> None:
    def of(prompts: int, *kinds: str) -> Evidence:
        source = {"file": "p.jsonl", "prompts": prompts}
        workload = {"kinds": [{"name": name, "prompts": source} for name in kinds]}
        rows = [
            reply(u, 6.0 + t, scenario="ab"[u], kind="turn" if t % 2 else "chat") for t in range(20) for u in (0, 1)
        ]
        return run(rows, manifest=manifest(workload=workload, workers=[worker(started=len(rows))]))

    assert result("prompt_repeats", of(10, "a")) == ("pass", False)
    assert result("prompt_repeats", of(19, "a", "b")) == ("fail", False)
    assert "(19 prompts of p.jsonl: 20 requests)" in finding("prompt_repeats", of(19, "a", "b")).why
    assert "prompt_repeats" not in [one.check for one in judge(run(), CHAT).findings]


def test_output_lengths_differ_between_levels() -> None:
    def two_levels(tokens: int) -> Evidence:
        rows = steady(2, 0, 30) + steady(4, 30, 30, tokens_out=tokens)
        return evidence(rows, staircase((2, 30), (4, 30)))

    assert result("output_lengths", two_levels(26)) == ("fail", False)
    assert result("output_lengths", two_levels(25)) == ("pass", False)


def test_reasoning_cut_off_by_the_token_limit() -> None:
    rows = [reply(u, 6.0 + t, outcome=Outcome.NO_ANSWER, finish_reason="length") for t in range(9) for u in range(2)]
    assert result("thinking_cut", run(rows)) == ("fail", False)


def test_findings_of_the_live_run_are_passed_on() -> None:
    live = {"check": "model_vanished", "state": "fail", "invalidates": True, "why": "gone", "advice": "look"}
    state = manifest(findings=[live, {"check": "odd", "state": "?"}, "text"], workers=[worker(started=len(GOOD))])
    verdict = judge(run(manifest=state), CHAT)
    assert verdict.findings[0] == Finding("model_vanished", "fail", True, "gone", "look")
    assert verdict.findings[1] == Finding("other", "unproven", False, "", "")
    assert verdict.verdict == "invalid"


def test_equal_output_lengths_name_two_levels() -> None:
    rows = steady(2, 0, 30) + steady(4, 30, 30)
    why = finding("output_lengths", evidence(rows, staircase((2, 30), (4, 30)))).why
    assert why == "The median answer has 20 tokens at 2 users and 20 at 4."


# --- the server's metrics ---


def counted_by(*requests: float, urls: bool = False) -> list[ServerRow]:
    """Return the counters of engines that answered so many requests."""
    names = [(f"http://{n}/metrics", "0") if urls else ("u", str(n)) for n in range(len(requests))]
    ends = zip(names, requests, strict=True)
    return [
        ServerRow(t, url, engine, "requests_finished", n * t / 60)
        for (url, engine), n in ends
        for t in (0.0, 30.0, 60.0)
    ]


@pytest.mark.parametrize("urls", [False, True])
@pytest.mark.parametrize(
    ("requests", "state", "said"),
    [
        ((100.0, 96.0), "pass", "2 engines had 51 % and 49 % of the requests."),
        ((7.0, 3.0), "pass", "2 engines had 70 % and 30 % of the requests."),  # so few differ by chance
        ((40.0, 160.0), "fail", "2 engines had 80 % and 20 % of the requests: uneven."),
        ((100.0, 0.0, 100.0), "fail", "3 engines had 50 %, 50 % and 0 % of the requests: uneven."),
        ((100.0,), "pass", "The metrics show a single engine."),
    ],
)
def test_shares_of_engines(requests: tuple[float, ...], state: str, said: str, urls: bool) -> None:
    found = finding("engine_shares", run(server=counted_by(*requests, urls=urls)))
    assert (found.state, found.why, found.invalidates) == (state, said, False)
    assert ("--reconnect" in found.advice) == (state == "fail")


def held_by(*users: float, waiting: tuple[float, ...] = ()) -> list[ServerRow]:
    """Return the gauges of engines with so many requests; every other second each has a third more, or fewer."""
    gauges = [("running", users), ("waiting", waiting)]
    return [
        ServerRow(float(t), "u", str(n), name, value * (1 + (-1) ** t / 3))
        for name, values in gauges
        for n, value in enumerate(values)
        for t in range(61)
    ]


MANY = [reply(user, 0.7 * n) for user in range(10) for n in range(40)]


@pytest.mark.parametrize(
    ("requests", "users", "waiting", "state", "said"),
    [
        (
            (100.0, 96.0),
            (5.0, 5.0),
            (),
            "pass",
            "51 % and 49 % of the requests and 50 % and 50 % of the users at once.",
        ),
        (
            *((160.0, 40.0), (4.0, 2.0), (4.0, 0.0), "fail"),
            "80 % and 20 % of the requests and 80 % and 20 % of the users at once: uneven.",
        ),
        (
            *((100.0, 100.0), (3.0, 7.0), (), "fail"),
            "50 % and 50 % of the requests and 30 % and 70 % of the users at once: uneven.",
        ),
        ((), (7.0, 3.0), (), "fail", "70 % and 30 % of the users at once: uneven."),
        ((100.0, 96.0), (), (), "pass", "51 % and 49 % of the requests."),
        ((100.0, 96.0), (5.0,), (), "pass", "51 % and 49 % of the requests."),  # one engine shows no gauge
    ],
)
def test_shares_of_users_at_once(requests, users, waiting, state: str, said: str) -> None:
    rows = [*counted_by(*requests), *held_by(*users, waiting=waiting)]
    found = finding("engine_shares", run(MANY, server=rows))
    assert (found.state, found.why) == (state, f"2 engines had {said}")
    slower = len(set(requests)) == 1 and state == "fail"
    assert ("takes longer" in found.advice, "--reconnect" in found.advice) == (slower, state == "fail" and not slower)


def test_few_users_at_once_differ_by_chance() -> None:
    found = finding("engine_shares", run(MANY[:12], server=[*counted_by(6, 6), *held_by(7.0, 3.0)]))
    assert found.state == "pass"


def test_shares_of_engines_are_unknown_without_counters() -> None:
    assert finding("engine_shares", run()).state == "unproven"


def test_metrics_that_were_not_asked_for_are_not_advised() -> None:
    off = [{"url": "http://server:8000", "metrics": "off"}]
    found = finding("server_metrics", run(manifest=manifest(options={"no_metrics": True}, server=off)))
    assert (found.state, found.advice) == ("unproven", "")
    assert found.why == "The server's metrics were not asked for (--no-metrics)."
    said = judge(run(manifest=manifest(options={"no_metrics": True}, server=off)), CHAT).diagnosis.sentence
    assert "would need" not in said


def test_what_a_page_lacks_is_said_with_what_it_costs() -> None:
    every = dict.fromkeys(("running", "waiting", "preemptions", "requests_finished", "itl_sum"), (1.0, 1.0))
    cached = [{"url": "u", "metrics": "ok", "cache": {"kv_tokens": 1000}}]
    whole = run(server=metrics(**every, kv_usage=(0.1, 0.1)), manifest=manifest(server=cached))
    assert finding("server_metrics", whole).why == "7 metrics read from the server."
    less = run(server=metrics(**every), manifest=manifest(server=[{"url": "u", "metrics": "ok", "cache": None}]))
    said = finding("server_metrics", less).why
    assert "Not reported: KV-cache usage: how full it gets is not known" in said
    assert "configuration of the KV cache: how many replies fit is not forecast" in said


@pytest.mark.parametrize("wrong", [-0.25, 57.0])
def test_impossible_values_in_an_older_run_are_not_used(wrong: float) -> None:
    verdict = judge(run(server=metrics(kv_usage=(0.5,) * 10 + (wrong,) * 20)), CHAT)
    assert [level.kv_usage_max for level in verdict.levels] == [0.5]


def test_metrics_of_servers_in_turn_prove_nothing() -> None:
    told = [
        ServerRow(float(t), "u", "0", name, value + 5000.0 * (t % 2))
        for name, value in (("generation_tokens", 10.0), ("requests_finished", 1.0), ("preemptions", 0.0))
        for t in range(60)
    ]
    verdict = judge(run(server=told), CHAT)
    assert [level.preemptions for level in verdict.levels] == [None]
    assert {one.check: one.state for one in verdict.findings}["server_tokens"] == "unproven"
    assert all(level.others is None for level in verdict.levels)
