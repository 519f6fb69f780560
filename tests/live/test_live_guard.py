"""No other website can use the operator's browser to start, stop, read or change anything."""

from typing import Any

import pytest
from live_ui import Ui

from probe_ext.settings.secrets import API_KEY_VARIABLE, HOSTS_VARIABLE
from probe_ext.swarm.locust_options import add_options
from probe_ext.swarm.web import run_form
from probe_ext.swarm.web.request_guard import guard_requests
from probe_ext.swarm.web.run_form import handle_form

OURS = {"Origin": "http://localhost"}
FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:81"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "http://localhost@evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
]
CHANGING = ("/swarm", "/stop", "/stats/reset", "/user", "/probe-login", "/anything")


@pytest.fixture
def ui(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv(HOSTS_VARIABLE, raising=False)
    made: Any = Ui()
    guard_requests(made.app, "gpu-box.example.org", "https://load.example.org:8443/path")
    made.taken = []
    made.running = False
    handle_form(made.environment, lambda: made.running, lambda *what: made.taken.append(what), lambda: None)
    monkeypatch.setattr(run_form, "ui_extra_args_dict", lambda _: dict.fromkeys(["levels", "hold", "mine"]))
    monkeypatch.setattr(made.environment.runner, "start", lambda *_, **__: None)
    return made


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("path", CHANGING)
def test_no_foreign_website_changes_anything(ui: Any, path: str, headers: dict[str, str]) -> None:
    for method in ("post", "put", "delete", "patch"):
        answer = getattr(ui.client, method)(path, headers=headers, data={"user_count": "1", "spawn_rate": "1"})
        assert answer.status_code == 403
    assert ui.taken == []


@pytest.mark.parametrize("path", ["/", "/stats/requests", "/logs", "/tasks", "/exceptions", "/probe/live.json"])
def test_no_foreign_website_reads_anything(ui: Any, path: str) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}):
        assert ui.client.get(path, headers=headers).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ui.client.get(path, headers=link).status_code == 200  # following a link is allowed


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8089", "localhost.evil.example", "127.0.0.1.evil.example", "", "a..b", "[::1"],
)
def test_a_name_that_an_attacker_may_own_is_refused(ui: Any, host: str) -> None:
    """DNS rebinding: the browser takes the attacker's page and this UI for one website."""
    origin = {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    for path in ("/", "/stats/requests", "/probe/live.json"):
        assert ui.client.get(path, headers={"Host": host, **origin}).status_code in {400, 403}
    assert ui.client.post("/swarm", headers={"Host": host, **origin}).status_code in {400, 403}
    assert ui.taken == []


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8089", "127.0.0.1:8089", "[::1]:8089", "10.1.2.3", "master:8089", "x.localhost"),
        *("gpu-box.example.org:8089", "load.example.org"),
    ],
)
def test_own_names_are_answered(ui: Any, host: str) -> None:
    assert ui.client.get("/stats/requests", headers={"Host": host}).status_code == 200
    assert ui.client.post("/swarm", headers={"Host": host, "Origin": f"http://{host}"}, data={}).status_code == 200


def test_more_names_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOSTS_VARIABLE, "one.example.org, two.example.org")
    ui = Ui()
    guard_requests(ui.app)
    status = {
        host: ui.client.get("/", headers={"Host": f"{host}.example.org"}).status_code
        for host in ("one", "two", "three")
    }
    assert status == {"one": 200, "two": 200, "three": 403}


def swarm(ui: Any, **fields: str) -> Any:
    return ui.client.post("/swarm", headers=OURS, data={"user_count": "1", "spawn_rate": "1", **fields}).get_json()


DANGEROUS = {
    "out": "/etc",
    "force": "true",
    "slo": "/etc/passwd",
    "prometheus": "http://evil.example",
    "prometheus_match": "x",
    "metrics_url": "http://10.0.0.1/",
    "no_report": "true",
    "locustfile": "/etc/passwd",
    "tls_key": "/x",
    "csv_prefix": "/etc/x",
    "web_login": "false",
    "expect_workers": "0",
    "nonsense": "1",
}


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize("name", DANGEROUS)
def test_the_form_sets_nothing_that_it_does_not_show(ui: Any, name: str, *, running: bool) -> None:
    ui.running = running
    before = dict(vars(ui.environment.parsed_options))
    answer = swarm(ui, **{name: DANGEROUS[name]})
    assert answer["success"] is False
    assert answer["message"].startswith(f"{name}: cannot be set here")
    assert ui.taken == []
    assert vars(ui.environment.parsed_options) == before


def test_the_form_sets_what_it_shows_and_repeats_what_was_started(ui: Any) -> None:
    ui.environment.parsed_options.out, ui.environment.parsed_options.force = "mine", False
    answer = swarm(ui, levels="1,2", hold="5s", mine="x", host="http://y", run_time="5s", out="mine", force="false")
    assert answer["success"] is True
    ((options, host),) = ui.taken
    assert (options.levels, options.out, host) == ((1, 2), "mine", "http://y")


def test_the_api_key_goes_only_to_the_server_that_the_ui_was_started_for(
    ui: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "sk-secret")
    for running in (False, True):
        ui.running = running
        for host in (
            "http://evil.example",
            "http://x.evil.example",
            "https://x:444",
            "http://x:81",
            "x@evil",
            "http://[",
        ):
            answer = swarm(ui, host=host)
            assert answer["success"] is False, host
            assert "start the UI with another --host" in answer["message"]
    assert ui.taken == []
    ui.running = False
    assert swarm(ui, host="http://x/v1")["success"]


def test_options_left_out_of_the_form_are_those_that_reach_files_and_other_servers() -> None:
    import argparse  # noqa: PLC0415

    class Parser(argparse.ArgumentParser):
        def add_argument_group(self, *names: Any, **more: Any) -> Any:
            group = super().add_argument_group(*names, **more)
            add = group.add_argument

            def add_argument(*flags: str, env_var: str, **how: Any) -> Any:
                return add(*flags, **how)

            group.add_argument = add_argument  # type: ignore[method-assign]
            return group

    parser = Parser()
    add_options(parser)
    shown = {action.dest for action in parser._actions if getattr(action, "include_in_web_ui", False)}
    assert not shown & {"out", "force", "slo", "prometheus", "prometheus_match", "metrics_url", "no_report"}
    assert {"levels", "model", "hold"} <= shown
