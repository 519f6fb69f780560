"""Addresses, kept connections, replicas, clocks and round trips, as a doctor sees them."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import formatdate

import pytest
from look_helpers import reply, subject_on

from probe_ext.access.endpoint import Endpoint
from probe_ext.access.known_server import fetcher_for, know_server, target_and_key
from probe_ext.inspection.check_result import CheckResult, Status
from probe_ext.inspection.connection import keep_alive as keeping
from probe_ext.inspection.connection.keep_alive import keep_alive, watch_idle
from probe_ext.inspection.connection.reachable import reachable, tls_failure
from probe_ext.inspection.connection.replicas import Look, judged, replicas
from probe_ext.inspection.connection.round_trip import round_trip
from probe_ext.inspection.connection.server_clock import server_clock
from probe_ext.measure import clock
from probe_ext.settings.options import read_options
from tests.in_process_sim import running_sim


def reach(url: str) -> CheckResult:
    options = read_options({"timeout_connect": "2s"})
    target, key = target_and_key(url)
    server = know_server(target, fetcher_for(target, key, options), options)
    return reachable(Endpoint(target.url, options, ""), server, 2.0)


@contextmanager
def listener(*, accepts: bool) -> Iterator[int]:
    """A port of loopback that answers nothing, or that is not listened on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        if accepts:
            sock.listen(16)
        yield sock.getsockname()[1]


def test_a_server_is_reachable_at_each_address() -> None:
    with running_sim() as sim:
        finding = reach(sim.url)
        by_name = reach(sim.url.replace("127.0.0.1", "localhost"))
    assert (finding.status, finding.figures["connected"]) == (Status.OK, 1)
    assert by_name.status is Status.OK  # an address that refuses at once costs nothing
    assert "127.0.0.1: " in by_name.evidence


def test_a_port_without_listener() -> None:
    with listener(accepts=False) as port:
        finding = reach(f"http://127.0.0.1:{port}")
    assert (finding.status, finding.figures["connected"]) == (Status.PROBLEM, 0)
    assert f"No connection to port {port}: 127.0.0.1: connection refused." in finding.evidence


def test_a_port_that_never_answers() -> None:
    with listener(accepts=True) as port:
        finding = reach(f"http://127.0.0.1:{port}")
    assert finding.status is Status.PROBLEM
    assert "does not answer HTTP: timed out" in finding.evidence


def test_an_unknown_name() -> None:
    finding = reach("http://no-such-host.invalid:8000")
    assert finding.status is Status.PROBLEM
    assert finding.evidence.startswith("no-such-host.invalid: ")


def test_https_to_a_plain_port() -> None:
    with running_sim() as sim:
        finding = reach(sim.url.replace("http://", "https://"))
    assert finding.status is Status.PROBLEM
    assert (finding.evidence[:28], finding.advice) == ("The port speaks plain HTTP, ", "Use http:// in the URL.")


@pytest.mark.parametrize(
    ("why", "said", "advice"),
    [
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "plain HTTP, not TLS", "Use http://"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", "not trusted", "--insecure"),
        ("the server closed the connection during the TLS handshake", "No connection: the server closed", "between"),
    ],
)
def test_what_a_failed_handshake_means(why: str, said: str, advice: str) -> None:
    evidence, fix = tls_failure(target_and_key("https://server")[0], why)
    assert (said in evidence, advice in fix) == (True, True)


def test_round_trip() -> None:
    with running_sim() as sim:
        finding = round_trip(Endpoint(sim.url, read_options({}), ""), 5.0)
    assert finding.status is Status.OK
    assert 0 < float(finding.figures["min_seconds"] or 0) <= float(finding.figures["median_seconds"] or 0)


def test_kept_connections_and_their_idle_limit() -> None:
    with running_sim(speed=8.0) as sim:
        subject = subject_on(sim.url)
        watch = watch_idle(subject.sender, 1.2)
        assert watch is not None
        watch.wait()
        finding = keep_alive(subject.samples, watch)
        watch.stop()
    assert (finding.status, finding.figures["idle_limit_seconds"]) == (Status.OK, None)
    assert "still open after 1.2 s" in finding.evidence


def test_connections_that_are_not_kept() -> None:
    with running_sim("no-keep-alive", speed=8.0) as sim:
        subject = subject_on(sim.url)
    assert watch_idle(subject.sender, 1.0) is None
    finding = keep_alive(subject.samples, None)
    assert (finding.status, finding.figures) == (Status.WARN, {"kept": False})


def test_connections_that_are_closed_a_moment_after_the_reply() -> None:
    """As llama.cpp does: open when the reply ends, gone when the next request is sent."""
    finding = keep_alive([reply(1.0, kept=True, reused=False)] * 3, None)
    assert (finding.status, finding.figures) == (Status.WARN, {"kept": False})


def test_tls_where_plain_http_was_expected() -> None:
    with listener(accepts=False) as port:
        url = f"http://127.0.0.1:{port}"
        target, key = target_and_key(url)
        options = read_options({"timeout_connect": "2s"})
        known = know_server(target, fetcher_for(target, key, options), options)
    why = f"the port speaks TLS: try https://127.0.0.1:{port}"
    server = replace(known, entries=({**known.entries[0], "models_error": why},))
    with listener(accepts=True) as port:
        target = target_and_key(f"http://127.0.0.1:{port}")[0]
        finding = reachable(Endpoint(target.url, options, ""), replace(server, target=target), 2.0)
    assert (finding.status, finding.evidence) == (Status.PROBLEM, "The port speaks TLS, not plain HTTP.")
    assert finding.advice == f"Use https:// (https://127.0.0.1:{port})."


@pytest.mark.parametrize(("closed_after", "status"), [(0.4, Status.WARN), (5.0, Status.OK)])
def test_an_idle_limit_matters_if_it_is_short(closed_after: float, status: Status) -> None:
    watch = keeping.IdleWatch(None, 12.0, began=clock.monotonic() - 12.0, closed_after=closed_after)  # type: ignore[arg-type]
    finding = keep_alive([reply(1.0)], watch)
    assert (finding.status, finding.figures["idle_limit_seconds"]) == (status, closed_after)


def dated(offset: float) -> CheckResult:
    """A reply with a date that is this many seconds ahead, cut to whole seconds as servers do."""
    text = formatdate(int(clock.wall() + offset), usegmt=True)
    return server_clock([reply(1.0, headers={"date": text}, headers_at=clock.monotonic())])


@pytest.mark.parametrize(
    ("offset", "status"), [(0.0, Status.OK), (-1.5, Status.OK), (60.0, Status.WARN), (-60.0, Status.WARN)]
)
def test_clocks_are_compared_as_far_as_a_date_resolves(offset: float, status: Status) -> None:
    finding = dated(offset)
    assert finding.status is status, finding
    if status is Status.WARN:
        assert ("ahead of" if offset > 0 else "behind") in finding.evidence


def test_a_clock_that_is_not_shown_is_unknown() -> None:
    assert server_clock([reply(1.0)]).status is Status.UNKNOWN
    assert server_clock([reply(1.0, headers={"date": "yesterday"})]).status is Status.UNKNOWN


@pytest.mark.parametrize(
    ("looks", "status"),
    [
        ([Look(10.0, (1.0, 2.0))] * 8, Status.OK),
        ([Look(10.0, (1.0, 2.0)), Look(11.0, (1.0, 2.0))], Status.PROBLEM),
        ([Look(None, (1.0, None)), Look(None, (5.0, None))], Status.OK),
        ([Look(None, (5.0, None)), Look(None, (1.0, None))], Status.PROBLEM),
        ([Look(None, (None, None))] * 8, Status.UNKNOWN),
        ([Look(10.0, (1.0, 2.0))], Status.UNKNOWN),
    ],
)
def test_replicas_are_told_by_starts_and_counters(looks: list[Look], status: Status) -> None:
    assert judged(looks).status is status


@pytest.mark.parametrize(("personality", "status"), [("vllm", Status.OK), ("replicas", Status.PROBLEM)])
def test_replicas_of_simulated_servers(personality: str, status: Status) -> None:
    with running_sim(personality, speed=8.0) as sim:
        assert replicas(subject_on(sim.url)).status is status


def test_wrong_clock_of_a_simulated_server() -> None:
    with running_sim("wrong-clock", speed=8.0) as sim:
        finding = server_clock(subject_on(sim.url).samples)
    assert finding.status is Status.WARN
    assert 3590 < float(finding.figures["server_ahead_seconds"] or 0) < 3610
