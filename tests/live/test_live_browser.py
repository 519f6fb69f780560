"""The live page in a real browser."""

import asyncio
import contextlib
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import chrome
import pytest
from live_ui import HOSTILE, Ui
from werkzeug.serving import make_server

from probe_ext.verdict.values.answer import Answer

if chrome.BROWSER is None:
    warnings.warn("no Chromium here: THE LIVE PAGE IS NOT TESTED IN A BROWSER", stacklevel=1)
pytestmark = pytest.mark.skipif(chrome.BROWSER is None, reason="no Chromium: THE LIVE PAGE IS NOT TESTED IN A BROWSER")

Visit = Callable[[chrome.Tab], Coroutine[Any, Any, None]]


@dataclass
class Served:
    """The UI on a real port."""

    ui: Ui
    url: str
    stop: Callable[[], None]


@pytest.fixture
def served() -> Iterator[Served]:
    ui = Ui()
    server = make_server("127.0.0.1", 0, ui.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    yield Served(ui, f"http://127.0.0.1:{server.server_port}/probe/", stop)
    if thread.is_alive():
        stop()


@pytest.fixture(scope="module")
def visit() -> Iterator[Callable[[Visit], None]]:
    """One browser for all tests of this module."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        tab = runner.run(stack.enter_async_context(chrome.tab()))
        yield lambda do: runner.run(do(tab))
        runner.run(stack.aclose())


async def go(tab: chrome.Tab, url: str, width: int = 1280, *, dark: bool = False) -> None:
    tab.requests, tab.console = [], []
    for domain in ("Page", "Network", "Runtime", "Log"):
        await tab.call(f"{domain}.enable")
    await tab.resize(width, 900)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    await tab.call("Emulation.setEmulatedMedia", features=[scheme])
    await tab.call("Page.navigate", url=url)


async def until(tab: chrome.Tab, expression: str) -> Any:
    """Poll until it is true."""
    end = time.monotonic() + 300  # noqa: TID251 - a test's own patience
    while time.monotonic() < end:  # noqa: TID251
        if found := await tab.ask(expression):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"never: {expression}; it says {await tab.ask('document.body.innerText')}")


DRAWN = "document.querySelectorAll('#lanes svg.plot').length === 7"


def test_draws_the_run_within_the_page_without_other_requests(
    visit: Callable[[Visit], None], served: Served, tmp_path: Path
) -> None:
    served.ui.begin(tmp_path / "run", seconds=60, model=HOSTILE)

    async def look(tab: chrome.Tab) -> None:
        for width, dark in ((1280, False), (390, True)):
            await go(tab, served.url, width, dark=dark)
            await until(tab, DRAWN)
            assert await tab.ask("document.documentElement.scrollWidth") <= width
            assert {url.split("?")[0] for url in tab.requests} <= {
                served.url + name for name in ("", "live.js", "live.css", "live.json")
            } | {"data:,"}
            assert tab.console == []
            said = str(await tab.ask("document.querySelector('h1').textContent"))
            assert said == "Probably about 4 people who pause 0.77 s on average (95 %: 0 to 7), so far.", said
            assert await tab.ask("document.querySelectorAll('#share rect').length") >= 2
            assert await tab.ask("document.querySelectorAll('#levels tbody tr').length") == 2
        text = str(await tab.ask("document.body.innerText"))
        assert HOSTILE in text
        assert await tab.ask("document.querySelectorAll('img').length") == 0

    visit(look)


TILE = "[...document.querySelectorAll('#tiles div')].find(div => div.innerText.startsWith('load generators'))"


def test_shows_the_load_generators_health(visit: Callable[[Visit], None], served: Served, tmp_path: Path) -> None:
    run = served.ui.begin(tmp_path / "run")
    run.workers.join("host_0123456789abcdef0123456789abcdef")
    w1 = SimpleNamespace(state="running", user_count=5)
    clients = {"w1": w1, "host_0123456789abcdef0123456789abcdef": w1}
    run.environment = SimpleNamespace(runner=SimpleNamespace(clients=clients, state="running"))

    async def look(tab: chrome.Tab) -> None:
        await go(tab, served.url, 390)
        await until(tab, DRAWN)
        assert str(await tab.ask(f"{TILE}.innerText")).split("\n") == [
            "load generators",
            "20% CPU",
            "receive lag 0.1 ms, last 30 s",
        ]
        assert await tab.ask(f"{TILE}.className") == ""
        window = str(await tab.ask("document.getElementById('window').textContent"))
        assert window.endswith("Some of them met the load of the level before, with 4 users."), window
        names = "[...document.querySelectorAll('#workers tbody th')].map(cell => cell.textContent + '|' + cell.title)"
        whole = "host_0123456789abcdef0123456789abcdef"
        assert await tab.ask(names) == ["w1|w1", f"host_012345…|{whole}", "master|master"]
        run.workers.known[whole].absences.disconnect()
        await until(tab, f"{TILE}.className === 'b' && {TILE}.innerText.endsWith('1 of 2 lost')")

    visit(look)


def test_keys_buttons_and_lost_connection(visit: Callable[[Visit], None], served: Served, tmp_path: Path) -> None:
    run = served.ui.begin(tmp_path / "run", seconds=400)

    async def look(tab: chrome.Tab) -> None:
        await go(tab, served.url)
        await until(tab, DRAWN)
        await tab.ask("document.getElementById('lanes').focus()")
        await tab.key("ArrowLeft")
        read = "document.getElementById('readout').textContent"
        first = str(await tab.ask(read))
        assert first.startswith("at 6:3"), first
        assert "served" in first
        await tab.key("ArrowLeft")
        assert str(await tab.ask(read)) != first
        assert await tab.ask("document.getElementById('readout').getAttribute('aria-live')") == "polite"
        await tab.ask("document.getElementById('whole').click()")
        await until(tab, "document.getElementById('lanes').innerText.includes('0:00')")
        # Screen readers announce only relevant changes.
        assert "so far" in str(await tab.ask("document.getElementById('news').textContent"))
        await tab.ask("document.getElementById('pause').click()")
        asked = len(tab.requests)
        await asyncio.sleep(2.5)
        await tab.ask("1")
        assert len(tab.requests) <= asked + 1  # one may have been under way
        await tab.ask("document.getElementById('pause').click()")
        assert await tab.ask("document.getElementById('report').hidden")
        run.ended, served.ui.view.past[0].report = 400.0, "ready"
        await until(tab, "document.getElementById('state').textContent === 'ended'")
        assert not await tab.ask("document.getElementById('report').hidden")
        served.stop()
        await until(tab, "document.getElementById('state').textContent.includes('connection lost')")

    visit(look)


def test_a_tab_in_the_background_that_was_open_before_the_run_follows_it(
    visit: Callable[[Visit], None], served: Served, tmp_path: Path
) -> None:
    async def look(tab: chrome.Tab) -> None:
        await go(tab, served.url)
        await until(tab, "document.title.includes('No run yet')")
        await tab.ask("Object.defineProperty(document, 'hidden', { value: true })")
        served.ui.begin(tmp_path / "run")
        await until(tab, "document.title.includes('people')")
        await until(tab, "document.getElementById('state').textContent.startsWith('running')")

    visit(look)


def test_a_whole_verdict_in_the_headline_is_set_as_text(
    visit: Callable[[Visit], None], served: Served, tmp_path: Path
) -> None:
    run = served.ui.begin(tmp_path / "run")
    whole = "Probably about 8 people (95 %: 0 to 15), not proven: a run of about 3 minutes at 8 users would settle it"
    answer = Answer("", (), whole, "", "", "", "16 are too many. The wait for the first word is the first limit.")
    run.ended, served.ui.view.past[0].answer = 60.0, answer

    async def look(tab: chrome.Tab) -> None:
        await go(tab, served.url)
        await until(tab, "document.querySelector('h1').textContent.startsWith('Probably')")
        size = "getComputedStyle(document.querySelector('h1')).fontSize"
        assert float(str(await tab.ask(size)).removesuffix("px")) <= 28

    visit(look)
