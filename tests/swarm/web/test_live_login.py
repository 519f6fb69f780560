"""The login of the web UI: password, delays and cookie."""

from pathlib import Path
from typing import Any

import pytest
from live_ui import Ui

from probe_ext.measure import clock
from probe_ext.settings.secrets import WEB_PASSWORD_VARIABLE
from probe_ext.swarm.web import login as web_login
from probe_ext.swarm.web.login import WebLogin, add_login

PLACES = ("/", "/probe/", "/probe/live.json", "/stats/requests")


def guarded(base: str, monkeypatch: pytest.MonkeyPatch) -> Ui:
    monkeypatch.setattr(web_login, "_FIRST_WAIT_S", 0.0)
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


@pytest.mark.untraced
def test_wrong_passwords_slow_their_own_address_down_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    ui = Ui(login=True)
    WebLogin(ui.environment, "open sesame")

    def attempt(password: str, address: str) -> int:
        client = ui.app.test_client()
        answer = client.post("/probe-login", data={"password": password}, environ_base={"REMOTE_ADDR": address})
        return int(answer.status_code)

    guesses = 0
    for _ in range(600 * 4):
        now[0] += 0.25
        guesses += attempt("open", "10.0.0.6") == 302
    assert guesses <= 30  # ten minutes of trying four times a second
    assert attempt("open sesame", "10.0.0.6") == 429
    assert attempt("open sesame", "10.0.0.7") == 302  # the operator is not locked out
    for n in range(20):
        attempt("open", f"2001:db8::{n:x}")
    assert attempt("open", "2001:db8::ffff") == 429  # one host may have all addresses of its network
    assert attempt("open sesame", "2001:db9::1") == 302
    now[0] += 31
    assert attempt("open sesame", "10.0.0.6") == 302
    assert attempt("open", "10.0.0.6") == 302  # forgotten: it begins with a second again


def test_addresses_do_not_fill_the_memory() -> None:
    attempts = web_login.Attempts()
    for n in range(12_000):
        attempts.note_failure(str(n), 0.0)
    assert len(attempts._failed) == 10_000
    assert attempts.wait("11999", 0.0) == 1.0


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
    ui.environment.parsed_options.web_login = False
    add_login(ui.environment)
    assert ui.client.post("/probe-login").status_code == 404
    assert ui.client.get("/probe/").status_code == 200
