"""Kinds of user that ask servers of their own: what a workload may say of them, and that all servers get the same."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from probe_ext.access.kind_prompts import KindPrompts
from probe_ext.live.host_counts import HostCounts
from probe_ext.load.series_plan import SeriesPlan
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.swarm.preparation.several_hosts import check_hosts
from probe_ext.swarm.preparation.stream_plan import kinds_of, plan_of, slots_of
from probe_ext.target.control.urls import urls_by_host
from probe_ext.workload.arrival_times import ArrivalCount, ArrivalForm, own_arrivals
from probe_ext.workload.draws import Draws
from probe_ext.workload.workload_file import Workload, parse_workload
from tests.report.synthetic_run import reply

A, B = "http://127.0.0.1:8001", "http://127.0.0.1:8002"


def workload(*kinds: dict[str, Any], arrivals: str = "poisson") -> Workload:
    return parse_workload({"kinds": list(kinds), "arrivals": arrivals}, "w.yaml", Path())


def two(**of_both: Any) -> Workload:
    return workload({"name": "a", "host": A, **of_both}, {"name": "b", "host": f"{B}/v1/", **of_both})


def test_each_kind_has_the_base_url_of_its_server() -> None:
    found = two()
    assert found.has_hosts
    assert [kind.host for kind in found.kinds] == [A, B]
    assert [kind.host for kind in Workload.of_message(found.to_message()).kinds] == [A, B]
    assert [kind["host"] for kind in found.to_manifest()["kinds"]] == [A, B]
    assert not workload({"name": "a"}, {"name": "b"}).has_hosts


@pytest.mark.parametrize(
    ("kinds", "why"),
    [
        ([{"name": "a", "host": A}], "kinds: a.host: a run of one server names it with --host"),
        (
            [{"name": "a", "host": A}, {"name": "b"}],
            "kinds: b.host: is missing; either every kind has one, or none has",
        ),
        ([{"name": "a", "host": A}, {"name": "b", "host": A}], f"kinds: a.host: {A}: is the host of two kinds"),
        (
            [{"name": "a", "host": A, "share": 2}, {"name": "b", "host": B}],
            "kinds: a.share: has no effect, as every host gets every request",
        ),
        (
            [{"name": "a", "host": A}, {"name": "b", "host": B, "users": 3}],
            "kinds: b.users: has no effect, as every host gets every request",
        ),
        (
            [{"name": "a", "host": A, "slo": "batch"}, {"name": "b", "host": B}],
            "kinds: b.slo: must be the same for all hosts",
        ),
        (
            [{"name": "a b", "host": A}, {"name": "a-b", "host": B}],
            "kinds: 'a b': two kinds would have the folder a-b",
        ),
        (
            [{"name": "Team", "host": A}, {"name": "team", "host": B}],
            "kinds: 'Team': two kinds would have the folder Team",
        ),
        (
            [{"name": "a", "host": "http://me:word@x"}, {"name": "b", "host": B}],
            "kinds.a.host: must not contain a user name or password; set the API key in the environment instead",
        ),
        (
            [{"name": "a", "host": "ftp://x"}, {"name": "b", "host": B}],
            "kinds.a.host: ftp://x: scheme must be http or https, not 'ftp'",
        ),
    ],
)
def test_wrong_hosts_are_refused_in_one_line(kinds: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        workload(*kinds)
    assert str(refusal.value) == f"w.yaml: {why}"


def test_hosts_need_a_rate_as_a_slow_server_would_be_asked_less() -> None:
    with pytest.raises(
        SettingsError, match="--rate: is missing; the workload w names a host for each kind, and users who wait"
    ):
        check_hosts(
            parse_workload({**two().to_message(), "name": "w", "arrivals": "users"}, "w", Path()), read_options({})
        )
    check_hosts(two(), read_options({"rate": "2"}))


def test_every_worker_needs_a_connection_to_every_host() -> None:
    options = read_options({"rate": "2", "max_in_flight": "3"})
    check_hosts(two(), options, workers=3)
    with pytest.raises(SettingsError, match=r"--max-in-flight 3: .* each of the 4 workers needs a connection"):
        check_hosts(two(), options, workers=4)


def test_no_server_decides_how_long_a_rate_is_held_for_all() -> None:
    plan = plan_of(read_options({"rate": "2,4", "hold": "10s", "settle": "5s"}), two())
    assert isinstance(plan, SeriesPlan)
    assert [(step.rate.per_second, step.seconds) for step in plan.steps] == [(2.0, 15.0), (4.0, 15.0)]


def test_each_host_has_all_connections() -> None:
    options = read_options({"rate": "2", "max_in_flight": "30"})
    assert slots_of(options, two()) == 60
    assert slots_of(options, workload({"name": "a"}, {"name": "b"})) == 30


def test_metrics_belong_to_the_host_at_their_port_or_to_all_on_their_machine() -> None:
    hosts = ["http://a:1", "http://a:2", "https://b"]
    urls = ["http://a:2/gpu", "http://a:9400/metrics", "https://b:443/metrics", "http://c/metrics"]
    assert urls_by_host(urls, hosts) == ([[urls[1]], [urls[0], urls[1]], [urls[2]]], [urls[3]])


def test_replies_are_counted_by_server() -> None:
    counts = HostCounts()
    assert counts.line() == ""
    for scenario, outcome in (
        ("slow", "complete"),
        ("fast", "complete"),
        ("slow", "not_sent"),
        ("slow", "ended_by_us"),
    ):
        counts.add(replace(reply(1, 0, 0.0, 1), scenario=scenario, outcome=outcome))
    assert counts.line() == "fast 1, slow 3 (1 failed)"


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_arrival_comes_to_each_kind_at_the_same_moment_on_any_number_of_workers(workers: int) -> None:
    kinds, times = kinds_of(two()), ArrivalForm().times(4.0, "x")
    wanted = list(islice(times, 100))
    before = {"a": 7, "b": 7}
    found: dict[str, list[tuple[float, int, int]]] = {"a": [], "b": []}
    for index in range(workers):
        own = own_arrivals(ArrivalForm().times(4.0, "x"), kinds, "x", before, index, workers, to_each=True)
        for one in own:
            if one.at > wanted[-1]:
                break
            found[one.kind].append((one.at, one.in_run, one.in_kind))
    for arrivals in found.values():
        assert sorted(arrivals) == [(at, 7 + number, 7 + number) for number, at in enumerate(wanted)]
    count = ArrivalCount(ArrivalForm().times(4.0, "x"), kinds, "x", to_each=True).until(wanted[50])
    assert count == {"a": 50, "b": 50}


def test_kinds_that_ask_servers_of_their_own_ask_the_same() -> None:
    both = two(stream=0.5, output_tokens={"uniform": [5, 50]}, prompts={"tokens": 60}, shared_prefix_tokens=40)
    draws = [[Draws(kind, 3, f"0.{user}").request(0) for user in range(20)] for kind in both.kinds]
    assert draws[0] == draws[1]
    texts = []
    for kind in both.kinds:
        asked = KindPrompts(kind, 0, {}, read_options({}), None).caller(5, 5).begin().ask()
        assert asked is not None
        texts.append(asked.prompt.text)
    assert texts[0] == texts[1]
