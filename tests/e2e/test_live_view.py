"""The live view in a real browser through whole runs: started in Locust's form, ramped, stopped, reported.

The scenario is `chat`, the server's model has a hostile name, and all stands behind a login and under a base path.
"""

import asyncio
import contextlib
import json
import time
import urllib.parse
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import chrome
import pytest

from tests.e2e.conftest import BIN, PATIENCE, ROOT, Run, channel, end, finished, free_port, start, wait_for
from tests.e2e.test_endings import check_accounts
from tests.e2e.test_swarm import Web, _answers

if chrome.BROWSER is None:
    warnings.warn("no Chromium here: THE LIVE VIEW IS NOT DRIVEN THROUGH A RUN", stacklevel=1)
pytestmark = pytest.mark.skipif(chrome.BROWSER is None, reason="no Chromium: THE LIVE VIEW IS NOT DRIVEN THROUGH A RUN")

MODEL = "<img src=x onerror=document.title='broken-in'>"
FILL = """(() => {{
  const form = [...document.querySelectorAll('form')].find(f => f.querySelector('input[name=userCount]'));
  if (!form) return false;
  form.querySelector('input[name=userCount]').value = '{users}';
  form.querySelector('input[name=spawnRate]').value = '8';
  form.requestSubmit();
  return true;
}})()"""
START = """(values => {{
  const form = document.getElementById('probe-form');
  if (!form || !form.checkVisibility() || document.getElementById('probe-go').disabled) return false;
  form.elements.probe_mode.value = '{mode}';
  for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
  form.dispatchEvent(new Event('input'));
  form.requestSubmit();
  return true;
}})({values})"""
PRESS = """(() => {{
  const found = [...document.querySelectorAll('button')].find(button => /^{name}$/i.test(button.innerText));
  if (found) found.click();
  return !!found;
}})()"""
PASSWORD = "let me in, é"
SAID_NO = "document.body.innerText.includes('Wrong password')"
LONG_ENOUGH = "/0:0[6-9]|0:[1-5]/.test((document.querySelector('#levels tr.present') || {}).innerText)"


class Known(Web):
    """A logged-in client without a browser."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def get(self, path: str) -> str:
        with self._opener.open(self.url + path, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def log_in(self) -> None:
        form = urllib.parse.urlencode({"password": PASSWORD}).encode()
        self._opener.open(self.url + "/probe-login", form, timeout=PATIENCE).close()


class Browser:
    """A tab with Locust's UI or the live page."""

    def __init__(self, tab: chrome.Tab, url: str) -> None:
        self.tab, self.url = tab, url

    async def go(self, path: str) -> None:
        await self.tab.call("Page.navigate", url=self.url + path)

    async def until(self, expression: str) -> Any:
        limit = time.monotonic() + 300  # noqa: TID251 - a test's own patience
        while time.monotonic() < limit:  # noqa: TID251
            with contextlib.suppress(AssertionError):  # asked while another page was loading
                if found := await self.tab.ask(expression):
                    return found
            await asyncio.sleep(0.2)
        raise AssertionError(f"never: {expression}; {await self.tab.ask('document.body.innerText')}")

    async def text(self, selector: str) -> str:
        return str(await self.tab.ask(f"(document.querySelector({selector!r}) || {{}}).innerText"))


def by_hand(users: int) -> str:
    """Return a script that fills in and sends the start form; false while it can't."""
    return START.format(mode="hand", values=json.dumps({"user_count": users, "spawn_rate": 8}))


async def whole_run(browser: Browser, picture: Path) -> None:
    """Act as the operator."""
    tab = browser.tab
    for domain in ("Page", "Network", "Runtime", "Log"):
        await tab.call(f"{domain}.enable")
    await tab.resize(1280, 900)
    await browser.go("/probe/")
    await browser.until("!!document.querySelector('input[name=password]')")
    assert await tab.ask("location.pathname") == "/load/login"
    for given in ("wrong", PASSWORD):
        await tab.ask(f"document.querySelector('input[name=password]').value = '{given}'")
        await tab.ask("document.querySelector('form').requestSubmit()")
        await browser.until(SAID_NO if given == "wrong" else "location.pathname === '/load/'")
        await asyncio.sleep(1.5 if given == "wrong" else 0)  # after a wrong one, an address has to wait for a second
    tab.console = []  # Chromium logs advice about the fields of Locust's login page
    await browser.until(by_hand(3))
    await browser.until("document.body.innerText.includes('RUNNING')")
    link = await browser.until("(document.querySelector('a[href=\"./probe/\"]') || {}).href")
    assert link == browser.url + "/probe/"
    await browser.go("/probe/")
    await browser.until(LONG_ENOUGH)
    await browser.until("/(so far|^Too early to say)/.test(document.querySelector('h1').textContent)")
    await browser.go("/")
    await browser.until(PRESS.format(name="edit"))
    await browser.until(FILL.format(users=6))
    await browser.until("/\\n6\\n/.test(document.body.innerText)")
    await browser.go("/?tab=levels")
    await browser.until("document.body.innerText.includes('so far: ')")
    await browser.go("/probe/")
    await browser.until("document.querySelectorAll('#levels tbody tr').length === 2")
    assert MODEL in await browser.text(".facts")
    assert tab.console == []
    await tab.picture(picture)
    await browser.go("/")
    await browser.until(PRESS.format(name="stop"))
    await browser.go("/probe/")
    await browser.until("!!document.querySelector('#runs a.open')")
    assert await browser.text("#state") == "ended"
    await tab.ask("document.querySelector('#runs a.open').click()")
    await browser.until("location.pathname.endsWith('/runs/1/capacity.html') && document.readyState === 'complete'")
    assert await tab.ask("document.querySelectorAll('svg').length") > 5
    assert await tab.ask("window.origin") == "null"  # the report has no login in this UI
    assert await tab.ask("document.title") != "broken-in"
    await browser.go("/")
    await browser.until(PRESS.format(name="new"))
    await browser.until(by_hand(2))
    await browser.until("document.getElementById('probe-bar').classList.contains('running')")
    await browser.go("/probe/")
    await browser.until("/running 0:0[3-9]/.test(document.getElementById('state').textContent)")
    await browser.go("/")
    await browser.until(PRESS.format(name="stop"))
    await browser.go("/probe/")
    await browser.until("document.querySelectorAll('#runs a.open').length === 2")
    await tab.ask("document.querySelector('#runs a.open').click()")  # newest first
    await browser.until("location.pathname.endsWith('/runs/2/capacity.html') && document.readyState === 'complete'")


@pytest.mark.long
def test_runs_from_the_form_to_the_report(tmp_path: Path) -> None:
    server = start([str(BIN / "probe"), "sim", "--profile", "demo", "--port", "0", "--model", MODEL, "--speed", "2"])
    assert server.stdout is not None
    host = server.stdout.readline().rpartition(" ")[2].strip()
    out, port = tmp_path / "run", str(free_port())
    command = [str(BIN / "locust"), "-f", str(ROOT / "locustfiles" / "chat.py"), "--host", host, "--web-port", port]
    command += ["--web-host", "127.0.0.1", "--web-base-path", "/load", "--out", str(out), "--loglevel", "WARNING"]
    command += ["--warm-up", "2", "--input-tokens", "60", "--max-tokens", "24", "--processes", "2", *channel()]
    ui = start([*command, "--web-login"], PROBE_WEB_PASSWORD=PASSWORD)
    url = f"http://127.0.0.1:{port}/load"
    web = Known(url)
    try:
        wait_for(lambda: _answers(web), "the web UI")
        assert "window.authArgs" in web.get("/stats/requests")  # the login page, no data
        web.log_in()
        wait_for(lambda: len(json.loads(web.get("/stats/requests"))["workers"]) == 2, "both workers")

        async def drive() -> None:
            async with chrome.tab() as tab:
                await whole_run(Browser(tab, url), tmp_path / "live.png")

        asyncio.run(drive())
        run = Run(out, 0, "")
        check_accounts(run, nodes=2)
        assert {row["kind"] for row in run.rows()} == {"chat", "turn"}
        assert run.manifest["end_reason"] == "stopped"
        assert run.manifest["plan"] is None
        assert (tmp_path / "live.png").stat().st_size > 50_000
        told = json.loads(web.get("/probe/live.json"))["runs"]
        assert [(one["number"], one["state"], one["report"]) for one in told] == [
            (2, "ended", "ready"),
            (1, "ended", "ready"),
        ]
        assert web.get("/probe/runs/1/requests.csv").count("\n") == 1 + len(run.rows())
    finally:
        end(ui)
        finished(ui, tmp_path)
        end(server)


def test_logs_the_live_pages_address() -> None:
    port = str(free_port())
    command = [str(BIN / "locust"), "-f", str(ROOT / "locustfiles" / "chat.py"), "--host", "http://127.0.0.1:9"]
    ui = start([*command, "--web-host", "127.0.0.1", "--web-port", port, "--web-base-path", "/load"])
    url = f"http://127.0.0.1:{port}/load"
    try:
        web = Known(url)
        wait_for(lambda: _answers(web), "the web UI")
        end(ui)
        assert ui.stdout is not None
        said = ui.stdout.read()
    finally:
        end(ui)
    assert f"Starting web interface at {url}," in said
    assert f"live view at {url}/probe/\n" in said
