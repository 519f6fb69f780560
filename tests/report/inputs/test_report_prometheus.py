"""`probe report --prometheus`: only the window, each sample once, one-line errors."""

import argparse
import contextlib
import csv
import json
import socket
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import synthetic_run
from prometheus_fake import Fake, serving

from probe_ext.exit_codes import ExitCode
from probe_ext.report import report_command
from probe_ext.report.inputs import frames, prometheus_client
from probe_ext.report.inputs import prometheus_import as from_prometheus
from probe_ext.report.inputs.prometheus_client import Prometheus, PrometheusError
from probe_ext.report.inputs.prometheus_import import PIECE_S, groups, pieces
from probe_ext.run import manifest
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.prometheus_access import (
    AUTH_VARIABLE,
    PrometheusSource,
    matchers,
    prometheus_source,
    prometheus_url,
)

ZERO = synthetic_run.STARTED
SECRET = "Bearer s3cr3t-t0ken"


def series(name: str, samples: list[tuple[float, float]], **labels: str) -> tuple[dict[str, str], Any]:
    own = {"__name__": name, "job": "vllm", "instance": "box:8000", "model_name": "m", "engine": "0"}
    return {**own, **labels}, samples


def steady(value: float, first: float = -20.0, last: float = 200.0, step: float = 1.0) -> list[tuple[float, float]]:
    """A sample a step, from before the run until after it."""
    return [(ZERO + first + i * step, value) for i in range(int((last - first) / step))]


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake(now=ZERO + 300)
    made.series = [
        series("vllm:num_requests_running", steady(3.0)),
        series("vllm_num_preemptions_total", [(t, float(i)) for i, (t, _) in enumerate(steady(0.0))]),
        series("go_goroutines", steady(9.0), job="other", instance="other:1"),
    ]
    with serving(made) as one:
        yield one


def report(*words: str) -> int:
    parser = argparse.ArgumentParser()
    report_command.add_arguments(parser)
    return report_command.main(parser.parse_args(list(words)))


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "server-prometheus.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def length(run: Path) -> float:
    return float(manifest.read(run)["duration"])


@pytest.mark.parametrize("closed_left", [True, False])
def test_every_sample_of_the_window_comes_once(run: Path, fake: Fake, closed_left: bool) -> None:
    fake.closed_left = closed_left
    assert report_command.server_figures(run, fake.url, None) is None
    found = [float(row["t"]) for row in rows(run) if row["quantity"] == "running"]
    assert found == [float(t) for t in range(int(length(run)) + 1)]
    assert {row["url"] for row in rows(run)} == {"box:8000"}
    assert {row["quantity"] for row in rows(run)} == {"running", "preemptions"}  # `:` and `_` alike


def test_a_long_run_is_queried_in_pieces(run: Path, fake: Fake) -> None:
    long = 2.5 * PIECE_S
    fake.series = [series("vllm:num_requests_running", steady(1.0, last=long + 50))]
    stated = manifest.read(run)
    manifest.write(run, {**stated, "duration": long})
    from_prometheus.read(run, manifest.read(run), PrometheusSource(fake.url))
    asked = [query["query"] for path, query in fake.asked if "[" in query.get("query", "")]
    assert [question.rpartition("[")[2] for question in asked] == ["300s]", "300s]", "151s]"]
    found = [float(row["t"]) for row in rows(run)]
    assert found == [float(t) for t in range(int(long) + 1)]  # at the seams too


def test_pieces_are_whole_seconds_without_gaps() -> None:
    found = list(pieces(1000.4, 1000.4 + 2 * PIECE_S))
    assert found[0][0] < 1000
    assert found[-1][1] >= 1000.4 + 2 * PIECE_S
    assert all(one[1] == two[0] for one, two in pairwise(found))
    assert all(0 < end - start <= PIECE_S for start, end in found)


def test_names_are_grouped_to_fit_a_url() -> None:
    names = [f"vllm:a_rather_long_metric_name_number_{n}" for n in range(200)]
    found = list(groups(names))
    assert [name for group in found for name in group] == names
    assert all(len("|".join(group)) <= 1500 for group in found)


def test_a_failed_scrape_is_missing_and_not_zero(run: Path, fake: Fake) -> None:
    away = [(t, v) for t, v in steady(3.0) if not 40 <= t - ZERO < 55]
    fake.series = [series("vllm:num_requests_running", away)]
    assert report_command.server_figures(run, fake.url, None) is None
    found = [(float(row["t"]), float(row["value"])) for row in rows(run)]
    assert not [t for t, _ in found if 40 <= t < 55]
    assert {value for _, value in found} == {3.0}
    output = json.loads((run / "server-prometheus.json").read_text())["servers"]
    assert [(one["url"], one["kind"], one["every"], one["gaps"]) for one in output] == [("box:8000", "vllm", 1.0, 1)]


def test_engines_and_instances_are_separate_and_parts_are_summed(run: Path, fake: Fake) -> None:
    counter = "vllm:request_success_total"
    fake.series = [
        series("vllm:num_requests_running", steady(1.0), engine="0"),
        series("vllm:num_requests_running", steady(2.0), engine="1"),
        series("vllm:num_requests_running", steady(4.0), instance="box2:8000"),
        series(counter, steady(5.0), finished_reason="stop"),
        series(counter, steady(6.0), finished_reason="length"),
        series(counter, steady(7.0), finished_reason="abort"),
    ]
    assert report_command.server_figures(run, fake.url, None) is None
    at_ten = {(r["url"], r["engine"], r["quantity"]): float(r["value"]) for r in rows(run) if float(r["t"]) == 10.0}
    assert at_ten == {
        ("box:8000", "0", "running"): 1.0,
        ("box:8000", "1", "running"): 2.0,
        ("box2:8000", "0", "running"): 4.0,
        ("box:8000", "0", "requests_finished"): 11.0,
        ("box:8000", "0", "requests_aborted"): 7.0,
    }  # nothing failed that the server had named: that is missing, not zero


def test_a_server_that_two_jobs_scrape_counts_once(run: Path, fake: Fake) -> None:
    fake.series = [
        series("vllm:num_requests_running", steady(3.0)),
        series("vllm:num_requests_running", steady(3.0, step=5.0), job="again"),
    ]
    assert report_command.server_figures(run, fake.url, None) is None
    assert {row["url"] for row in rows(run)} == {"box:8000"}
    assert {row["engine"] for row in rows(run)} == {"0"}
    (about,) = json.loads((run / "server-prometheus.json").read_text())["servers"]
    assert about["labels"]["job"] == "vllm"


def test_start_times_are_queried_only_for_servers_found(run: Path, fake: Fake) -> None:
    fake.series += [
        series("process_start_time_seconds", steady(ZERO - 100.0)),
        series("process_start_time_seconds", steady(ZERO - 9.0), job="other", instance="other:1"),
    ]
    assert report_command.server_figures(run, fake.url, None) is None
    started = {(r["url"], float(r["value"])) for r in rows(run) if r["quantity"] == "process_start"}
    assert started == {("box:8000", ZERO - 100.0)}
    question = next(q["query"] for _, q in fake.asked if "process_start" in q.get("query", ""))
    assert 'instance=~"box:8000"' in question


def test_blocks_of_an_old_server_are_recognised_by_the_help_text(run: Path, fake: Fake) -> None:
    name = "vllm:gpu_prefix_cache_queries_total"
    fake.series = [series("vllm:num_requests_running", steady(1.0)), series(name, steady(50.0))]
    fake.helps = {name: "Prefix cache queries, in terms of number of queried blocks."}
    assert report_command.server_figures(run, fake.url, None) is None
    assert {row["quantity"] for row in rows(run)} == {"running", "prefix_queries_blocks"}


def test_matchers_select_and_the_page_names_the_source(run: Path, fake: Fake) -> None:
    fake.series.append(series("vllm:num_requests_running", steady(70.0), job="staging", instance="stage:8000"))
    polled = (run / "server.csv").read_bytes()
    code = report(str(run), "--prometheus", fake.url, "--prometheus-match", '{job="vllm"}', "--quiet")
    assert code == ExitCode.OK
    assert {row["url"] for row in rows(run)} == {"box:8000"}
    assert (run / "server.csv").read_bytes() == polled  # nothing polled is lost
    page = (run / "capacity.html").read_text()
    assert "2 metrics of 1 server read from a Prometheus" in page
    assert fake.url in page
    assert report(str(run), "--quiet") == ExitCode.OK  # again, from files alone
    assert "2 metrics of 1 server read from a Prometheus" in (run / "capacity.html").read_text()
    assert frames.load(run).manifest["prometheus"]["match"] == 'job="vllm"'


def test_credentials_are_used_and_never_written(
    run: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.header = SECRET
    assert report(str(run), "--prometheus", fake.url) == ExitCode.USAGE
    assert f"401: set {AUTH_VARIABLE}" in capsys.readouterr().err
    monkeypatch.setenv(AUTH_VARIABLE, "Bearer wr0ng")
    assert report(str(run), "--prometheus", fake.url) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert "was rejected" in error
    assert "wr0ng" not in error
    monkeypatch.setenv(AUTH_VARIABLE, SECRET)
    assert report(str(run), "--prometheus", fake.url) == ExitCode.OK
    output = capsys.readouterr()
    assert "s3cr3t" not in output.out + output.err
    assert not [path for path in run.iterdir() if b"s3cr3t" in path.read_bytes()]
    assert "s3cr3t" not in repr(PrometheusSource("u", "", SECRET))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((400, b'{"status":"error","errorType":"bad_data","error":"parse error: <b>x</b>"}'), "400: parse error"),
        ((404, b"page not found"), "404: not a Prometheus"),
        ((200, b"<html>log in</html>"), "not the response of a Prometheus"),
        ((200, b'{"status":"success"}'), "not the response of a Prometheus"),
        ((200, b'{"status":"success","data":{"result":[]}}'), "not the response of a Prometheus"),
        ((403, b""), f"403: set {AUTH_VARIABLE}"),
    ],
)
def test_an_invalid_response_is_one_line_and_changes_nothing(
    run: Path, fake: Fake, capsys: pytest.CaptureFixture[str], answer: tuple[int, bytes], reason: str
) -> None:
    fake.answer = answer
    assert report(str(run), "--prometheus", fake.url) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"--prometheus {fake.url}: {reason}" in error
    assert not (run / "server-prometheus.csv").exists()


def test_connection_refused_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert report(str(run), "--prometheus", f"http://127.0.0.1:{port}") == ExitCode.USAGE
    assert capsys.readouterr().err == f"probe report: --prometheus http://127.0.0.1:{port}: connection refused\n"


def test_a_prometheus_that_does_not_answer_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        with pytest.raises(Exception, match="timed out"):
            Prometheus(PrometheusSource(url), timeout=0.05).clock_offset()


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n\r\n{", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_prometheus_that_drips_is_given_up(start: bytes) -> None:
    over = threading.Event()

    def drip() -> None:
        peer, _ = listener.accept()
        with contextlib.suppress(OSError):
            peer.recv(65536)
            peer.sendall(start)
            while not over.wait(0.01):
                peer.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(PrometheusError, match="timed out"):
            Prometheus(PrometheusSource(url), timeout=0.5).clock_offset()
        over.set()


def test_a_prometheus_with_an_endless_response_is_given_up(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_client, "MAX_BODY_BYTES", 10)
    with pytest.raises(PrometheusError, match="response exceeds 10 bytes"):
        Prometheus(PrometheusSource(fake.url)).clock_offset()


def test_all_queries_of_a_report_have_one_deadline(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_client, "TOTAL_TIMEOUT_S", 0.0)
    with pytest.raises(PrometheusError, match="timed out"):
        Prometheus(PrometheusSource(fake.url)).clock_offset()


@pytest.mark.parametrize("key", ["started_unix", "duration"])
@pytest.mark.parametrize("value", [1e300, -1.0, 1e12])
def test_a_window_that_cannot_be_is_one_line(
    run: Path, fake: Fake, capsys: pytest.CaptureFixture[str], key: str, value: float
) -> None:
    manifest.write(run, {**manifest.read(run), key: value})
    assert report(str(run), "--prometheus", fake.url) == ExitCode.USAGE
    assert capsys.readouterr().err.count("\n") == 1


def test_without_matches_the_error_names_the_query(run: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(str(run), "--prometheus", fake.url, "--prometheus-match", 'job="other"') == ExitCode.USAGE
    error = capsys.readouterr().err
    assert "no LLM server metrics (vllm:…" in error
    assert '{job="other"}' in error
    assert "1 other metric found" in error
    assert error.count("\n") == 1


def test_a_runs_own_prometheus_is_read_once_and_may_be_down(
    run: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = manifest.read(run)
    options = {**stated["options"], "prometheus": fake.url, "prometheus_match": 'job="vllm"'}
    manifest.write(run, {**stated, "options": options})
    fake.answer = (503, b"")
    assert report(str(run)) == ExitCode.OK  # the verdict does not need it
    assert f"--prometheus {fake.url}: 503" in capsys.readouterr().err
    fake.answer = None
    assert report(str(run)) == ExitCode.OK
    assert {row["url"] for row in rows(run)} == {"box:8000"}
    fake.asked.clear()
    assert report(str(run)) == ExitCode.OK
    assert fake.asked == []


def test_a_killed_run_is_read_up_to_its_last_moment(run: Path, fake: Fake) -> None:
    stated = manifest.read(run)
    until = length(run)
    manifest.write(run, {**stated, "duration": None, "ended_at": None})
    first, last = from_prometheus.window(run, manifest.read(run))
    assert first == ZERO
    assert until - 10 < last - first <= until + 10
    assert report(str(run), "--prometheus", fake.url, "--quiet") in (ExitCode.OK, ExitCode.INVALID)
    assert rows(run)


# --- options ---


def test_valid_urls_and_matchers() -> None:
    assert prometheus_url(" http://p:9090/prom/ ") == "http://p:9090/prom"
    assert prometheus_url("") is None
    assert matchers('{job="a,b}", instance=~"x.*",}') == 'job="a,b}", instance=~"x.*"'
    assert matchers("") == ""


@pytest.mark.parametrize("url", ["p:9090", "ftp://p", "http://", "http://u:pw@p", "http://p/?a=1", "http://p/#x"])
def test_invalid_urls(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|PROBE_PROMETHEUS_AUTH|query"):
        prometheus_url(url)


@pytest.mark.parametrize("match", ["job=vllm", 'job="a" or vector(1)', '"a"', 'job="a"} or {x="y"', "up", 'a="b'])
def test_invalid_matchers(match: str) -> None:
    with pytest.raises(ValueError, match="not valid label matchers"):
        matchers(match)


@pytest.mark.parametrize("header", ["s3cr3t", "Bearer", "Bearer s3cr3t\nX: y", "Bearer s3cr3t-ü"])
def test_an_invalid_header_is_rejected_without_repeating_it(header: str) -> None:
    with pytest.raises(SettingsError, match=AUTH_VARIABLE) as refused:
        prometheus_source("http://p", None, {AUTH_VARIABLE: header})
    assert "s3cr3t" not in str(refused.value)


def test_only_one_module_imports_the_library() -> None:
    package = Path(report_command.__file__).parents[1]
    users = [path.name for path in package.rglob("*.py") if "from prometheus_api_client" in path.read_text()]
    assert users == ["prometheus_client.py"]
