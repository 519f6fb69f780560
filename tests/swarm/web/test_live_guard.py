"""No other website can use the operator's browser to start, stop, read or change anything."""

import io
import re
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from live_ui import Someone, Ui

from probe_ext.settings.errors import SettingsError
from probe_ext.settings.secrets import API_KEY_VARIABLE, HOSTS_VARIABLE
from probe_ext.swarm.locust_options import add_options
from probe_ext.swarm.web import run_form
from probe_ext.swarm.web.request_guard import MAX_BODY_BYTES, guard_requests
from probe_ext.swarm.web.run_form import _check_extras, handle_form

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
    {"Referer": "https://evil.example/page"},
]
CHANGING = ("/swarm", "/stop", "/stats/reset", "/user", "/probe-login", "/anything")


@pytest.fixture(scope="module")
def guarded_ui() -> Iterator[Any]:
    """One UI for all tests: to build it takes far longer than a request."""
    made: Any = Ui()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(HOSTS_VARIABLE, raising=False)
        guard_requests(made.app, "gpu-box.example.org", "https://load.example.org:8443/path")
        handle_form(made.environment, lambda: made.running, lambda *what: made.taken.append(what), lambda: None)
        patch.setattr(made.environment.runner, "start", lambda *_, **__: None)
        made.options = dict(vars(made.environment.parsed_options))
        yield made


@pytest.fixture
def ui(guarded_ui: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The UI as it was started, without a run."""
    monkeypatch.setattr(run_form, "ui_extra_args_dict", lambda _: dict.fromkeys(["levels", "hold", "mine"]))
    guarded_ui.taken, guarded_ui.running = [], False
    started = vars(guarded_ui.environment.parsed_options)
    started.clear()
    started.update(guarded_ui.options)
    guarded_ui.environment.host = "http://x"
    return guarded_ui


@pytest.mark.parametrize("path", CHANGING)
def test_no_foreign_website_changes_anything(ui: Any, path: str) -> None:
    for headers in FOREIGN:
        for method in ("post", "put", "delete", "patch"):
            answer = getattr(ui.client, method)(path, headers=headers, data={"user_count": "1", "spawn_rate": "1"})
            assert answer.status_code == 403, (method, headers)
    assert ui.taken == []


def rules(ui: Any) -> list[tuple[str, set[str]]]:
    """Every route of the whole UI, Locust's own included, with its methods."""
    return [(re.sub(r"<[^>]+>", "1", str(rule.rule)), set(rule.methods or ())) for rule in ui.app.url_map.iter_rules()]


def test_every_route_refuses_foreign_websites_and_unknown_hosts(ui: Any) -> None:
    routes = rules(ui)
    assert {"/swarm", "/stop", "/stats/reset", "/user", "/logs", "/probe/live.json"} <= {path for path, _ in routes}
    changing = [(path, method) for path, methods in routes for method in methods - {"GET", "HEAD", "OPTIONS"}]
    assert len(changing) >= 4
    for path, method in changing:
        for headers in FOREIGN:
            assert ui.client.open(path, method=method, headers=headers).status_code == 403, (path, method, headers)
    for path, methods in routes:
        for method in methods:
            refused = ui.client.open(path, method=method, headers={"Host": "evil.example"})
            assert refused.status_code == 403, (path, method)
            embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
            assert ui.client.open(path, method=method, headers=embedded).status_code == 403, (path, method)


@pytest.mark.parametrize(
    "kind", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"]
)
@pytest.mark.parametrize("announced", [True, False])
def test_a_large_body_is_neither_kept_nor_spooled(ui: Any, kind: str, *, announced: bool) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n' if "multipart" in kind else b"a="
    for path in ("/swarm", "/user"):
        body = io.BytesIO(part + bytes(20 * MAX_BODY_BYTES))
        how = {"CONTENT_LENGTH": str(10**10)} if announced else {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
        answer = ui.client.post(path, headers=OURS, content_type=kind, input_stream=body, environ_overrides=how)
        assert body.tell() <= 2 * MAX_BODY_BYTES
        assert answer.status_code == 413 or not announced


def test_nothing_changes_on_a_get(ui: Any) -> None:
    """An image of any website is a GET, which older browsers send without a word of where it comes from."""
    assert not [path for path, methods in rules(ui) if methods & {"POST", "PUT", "DELETE"} and "GET" in methods]


def test_no_page_can_be_framed(ui: Any) -> None:
    for path, methods in rules(ui):
        if "GET" in methods:
            answer = ui.client.get(path)
            assert answer.headers["X-Frame-Options"] == "DENY", path
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path


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
    "web_login": "true",
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
            "http://x/behind/the/gateway",
        ):
            answer = swarm(ui, host=host)
            assert answer["success"] is False, host
            settings = {"user_class_name": "Someone", "host": host}
            assert ui.client.post("/user", headers=OURS, json=settings).status_code == 400
            assert Someone.host is None
            assert "start the UI with another --host" in answer["message"]
    assert ui.taken == []
    ui.running = False
    assert swarm(ui, host="http://x/v1")["success"]


def test_a_run_keeps_its_server(ui: Any) -> None:
    ui.running = True
    for host in ("http://y", "http://x#y", "http://x/v2"):
        assert swarm(ui, host=host)["message"] == "host: cannot be changed during a run"
    assert swarm(ui, host="http://x/")["success"]


def test_with_a_secret_the_form_does_not_switch_verification_off(ui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_form, "ui_extra_args_dict", lambda _: {"insecure": {"default_value": False}})
    monkeypatch.setenv(API_KEY_VARIABLE, "sk-secret")
    for value in ("on", "true", "True"):
        assert swarm(ui, insecure=value)["message"].startswith("insecure: cannot be set here")
    assert ui.taken == []
    assert swarm(ui, insecure="false")["success"]
    monkeypatch.delenv(API_KEY_VARIABLE)
    assert swarm(ui, insecure="true")["success"]


@pytest.mark.parametrize(("host", "login"), [("", False), ("0.0.0.0", False), ("", True), ("127.0.0.1", False)])
def test_where_strangers_can_use_the_key_they_do_not_name_its_server(
    monkeypatch: pytest.MonkeyPatch, host: str, login: bool
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "sk-secret")
    made: Any = Ui()
    made.environment.host = None
    made.environment.parsed_options.web_host, made.environment.parsed_options.web_login = host, login
    taken: list[object] = []
    handle_form(made.environment, lambda: False, lambda *what: taken.append(what), lambda: None)
    made.environment.web_ui = SimpleNamespace(auth_required_if_enabled=lambda handler: handler, app=made.app)
    monkeypatch.setattr(made.environment.runner, "start", lambda *_, **__: None)
    answer = made.client.post("/swarm", data={"user_count": "1", "spawn_rate": "1", "host": "http://elsewhere"})
    safe = login or host == "127.0.0.1"
    assert bool(taken) is safe
    assert safe or "start the UI with --host" in answer.get_json()["message"]


@pytest.mark.parametrize("users", ["1000001", "999999999999", " 9999999 "])
def test_the_number_of_users_is_limited(ui: Any, users: str) -> None:
    answer = swarm(ui, user_count=users)
    assert answer["success"] is False
    assert answer["message"] == "user_count: must be at most 1000000"


@pytest.mark.parametrize(
    "settings",
    [{"llm": 1}, {"on_stop": "x"}, {"__init__": None}, {"weight": -1}, {"fixed_count": 10**9}, {"tasks": 1}, 5],
)
def test_a_user_class_gets_nothing_but_what_its_dialog_shows(ui: Any, settings: Any) -> None:
    body = {"user_class_name": "Someone", **settings} if isinstance(settings, dict) else settings
    assert ui.client.post("/user", headers=OURS, json=body).status_code == 400
    assert not hasattr(Someone, "llm")


def test_the_form_takes_headers_and_body_fields_but_no_file(
    ui: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = {name: {"default_value": ""} for name in ("header", "body")}
    monkeypatch.setattr(run_form, "ui_extra_args_dict", lambda _: fields)
    file = tmp_path / "of-the-master.json"
    file.write_text('{"top_k": 1}')
    assert "must be a JSON object here" in swarm(ui, body=str(file))["message"]
    assert "cannot be set here" in swarm(ui, header_env="X-A=PROBE_API_KEY")["message"]
    assert ui.taken == []
    assert swarm(ui, body='{"top_k": 1}', header="X-Tenant: blue")["success"]
    ((options, _),) = ui.taken
    assert (options.body, options.header) == ('{"top_k":1}', ("X-Tenant: blue",))


@pytest.mark.parametrize("secret", ["key", "header_env"])
def test_with_a_secret_the_form_changes_neither_headers_nor_body(
    ui: Any, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    started = Namespace(**{**vars(ui.environment.parsed_options), "header": "X-Tenant: blue", "body": ""})
    if secret == "key":
        monkeypatch.setenv(API_KEY_VARIABLE, "sk-secret")
    else:
        monkeypatch.setenv("GATEWAY_KEY", "sk-secret")
        started.header_env = "X-Key=GATEWAY_KEY"
    _check_extras(started, {"header": "X-Tenant: blue", "body": ""}, getattr(started, "header_env", ""))
    for changed in ({"header": "X-Target-Url: http://evil.example"}, {"body": '{"api_base": "http://evil.example"}'}):
        with pytest.raises(SettingsError, match="cannot be changed here"):
            _check_extras(started, changed, getattr(started, "header_env", ""))


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
    assert {"header", "body"} <= shown
    assert not shown & {
        "header_env",
        "out",
        "force",
        "prometheus",
        "prometheus_match",
        "metrics_url",
        "no_report",
    }
    assert {"levels", "model", "hold", "slo"} <= shown


@pytest.mark.parametrize("name", ["slo", "workload"])
def test_the_form_reads_no_other_file(ui: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(run_form, "ui_extra_args_dict", lambda _: dict.fromkeys(["slo", "workload"]))
    answer = swarm(ui, **{name: "/etc/passwd"})
    assert answer["success"] is False
    assert answer["message"].startswith(f"{name}: /etc/passwd: must be one of ")
    assert answer["field"] == name
    assert ui.taken == []
    assert "message" not in swarm(ui, **{name: "chat"}) or ui.taken
