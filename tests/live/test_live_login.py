"""The login of the web UI: password, delays and cookie."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from live_ui import Ui

from probe_ext.settings.secrets import WEB_PASSWORD_VARIABLE
from probe_ext.swarm.web import login as web_login
from probe_ext.swarm.web.login import WebLogin, add_login

PLACES = ("/", "/probe/", "/probe/live.json", "/stats/requests")


def guarded(base: str, monkeypatch: pytest.MonkeyPatch) -> Ui:
    monkeypatch.setattr(web_login, "_WRONG_PASSWORD_DELAY_S", 0.0)
    monkeypatch.setenv(WEB_PASSWORD_VARIABLE, "open sesame")
    ui = Ui(base, login=True)
    ui.environment.parsed_options.web_login = True
    add_login(ui.environment)
    return ui


@pytest.mark.parametrize("base", ["", "/load"])
def test_only_the_password_opens_the_pages(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ui = guarded(base, monkeypatch)
    ui.begin(tmp_path / "run")
    for wrong in ({"password": "open"}, {"password": ""}, {}):
        answer = ui.client.post(f"{base}/probe-login", data=wrong)
        assert (answer.status_code, answer.location) == (302, f"{base}/login")
        assert "Wrong password." in ui.client.get(answer.location).get_data(as_text=True)
        assert [ui.client.get(base + place).status_code for place in PLACES] == [302] * len(PLACES)
    answer = ui.client.post(f"{base}/probe-login", data={"password": "open sesame"})
    assert (answer.status_code, answer.location) == (302, f"{base}/")
    assert [ui.client.get(base + place).status_code for place in PLACES] == [200] * len(PLACES)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie  # not sent from other websites
    assert "Secure" not in cookie  # without TLS it would never be sent back


def test_password_is_on_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ui = guarded("", monkeypatch)
    ui.begin(tmp_path / "run")
    ui.client.post("/probe-login", data={"password": "open sesame"})
    for place in (*PLACES, "/login"):
        assert b"open sesame" not in ui.client.get(place).data


def test_cookie_is_secure_with_tls() -> None:
    ui = Ui(login=True)
    ui.environment.parsed_options.tls_cert = "cert.pem"
    WebLogin(ui.environment, "open sesame")
    answer = ui.client.post("/probe-login", data={"password": "open sesame"})
    assert "Secure" in answer.headers["Set-Cookie"]


def test_wrong_passwords_are_delayed_and_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    ui = Ui(login=True)
    WebLogin(ui.environment, "open sesame")
    waits: list[float] = []
    answers: list[int] = []

    def attempt(password: str) -> None:
        answers.append(ui.app.test_client().post("/probe-login", data={"password": password}).status_code)

    def somebody_else_tries(seconds: float) -> None:
        waits.append(seconds)
        attempt("open" if len(waits) < 9 else "open sesame")

    monkeypatch.setattr(web_login, "gevent", Namespace(sleep=somebody_else_tries))
    attempt("open")
    assert answers == [429, 302, 302, 302, 302]
    assert len(waits) == 4
    assert min(waits) >= 0.5
    waits[:], answers[:] = [0.0] * 8, []
    attempt("open")
    assert (answers, len(waits)) == ([302, 302], 9), "those before wait no longer"
    attempt("open sesame")
    assert len(waits) == 9, "the right one costs nothing"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://localhost"}, 302),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}, 302),
        ({"Origin": "https://as.the.proxy", "Sec-Fetch-Site": "same-origin"}, 302),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 403),
    ],
)
def test_refuses_cross_origin_logins(headers: dict[str, str], status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ui = guarded("", monkeypatch)
    answer = ui.client.post("/probe-login", data={"password": "open sesame"}, headers=headers)
    assert answer.status_code == status
    assert ("Set-Cookie" in answer.headers) == (status == 302)


def test_warns_if_nobody_can_log_in(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ui: Any = Ui(login=True)
    web_login._warn(ui.environment)
    assert capsys.readouterr().err == ""  # the locustfile added a login
    ui.app.secret_key = None
    web_login._warn(ui.environment)
    assert WEB_PASSWORD_VARIABLE in capsys.readouterr().err


def test_password_without_web_login_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ui = Ui()
    monkeypatch.setenv(WEB_PASSWORD_VARIABLE, "open sesame")
    ui.environment.parsed_options = Namespace(**vars(ui.environment.parsed_options), web_login=False)
    add_login(ui.environment)
    assert ui.client.post("/probe-login").status_code == 404
    assert ui.client.get("/probe/").status_code == 200
