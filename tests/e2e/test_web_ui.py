"""Locust's page with our start form and bar, in a real browser: three runs, by hand, by levels and by a search."""

import asyncio
import json
import warnings
from pathlib import Path

import chrome
import pytest

from tests.e2e.conftest import BIN, CAPACITY, end, finished, free_port, simulated, start, wait_for
from tests.e2e.test_live_view import FILL, PRESS, START, Browser
from tests.e2e.test_swarm import Web, _answers

if chrome.BROWSER is None:
    warnings.warn("no Chromium here: THE WEB UI IS NOT DRIVEN THROUGH RUNS", stacklevel=1)
if chrome.NO_AXE:
    warnings.warn(chrome.NO_AXE, stacklevel=1)
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(chrome.BROWSER is None, reason="no Chromium: THE WEB UI IS NOT DRIVEN THROUGH RUNS"),
]

BAR = "document.getElementById('probe-bar')"
BAR_TEXT = f"{BAR}.innerText"
REPORT = "document.getElementById('probe-report')"
ERROR = "(name => (e => !e.hidden && e.checkVisibility() ? e.textContent : '')(document.getElementById('e-' + name)))"
VALUES = "(e => [e.probe_mode.value, e.levels.value, e.slo.value])(document.getElementById('probe-form').elements)"
ORDER = """[...document.querySelectorAll('#root ul > li > a')].sort(
  (a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top).map(a => a.getAttribute('href'))"""
COVERED = """[...document.querySelectorAll('.probe')].filter(e => getComputedStyle(e).position !== 'static').length"""
QUICK = {"hold": "3s", "settle": "1s", "min_replies": "1", "warm_up": "off", "max_tokens": "24", "timeout_gap": "60s"}


def form(mode: str, **values: str) -> str:
    """Return a script that fills in and sends the start form; false while it can't."""
    return START.format(mode=mode, values=json.dumps({**QUICK, **values}))


async def is_accessible(browser: Browser) -> None:
    """Check the page with axe-core, where it is installed: light and dark, desktop and phone.

    On a phone, Locust's own tables scroll but cannot be reached by keyboard, so there only our parts are checked.
    """
    if chrome.NO_AXE:
        return
    for width, scheme in ((390, "dark"), (390, "light"), (1280, "dark"), (1280, "light")):  # ends as it was
        await browser.tab.resize(width, 900)
        chosen = {"name": "prefers-color-scheme", "value": scheme}
        await browser.tab.call("Emulation.setEmulatedMedia", features=[chosen])
        parts = "html" if width > 600 else ".probe"
        assert await browser.tab.violations(parts) == [], (width, scheme)


async def refuses_and_keeps(browser: Browser) -> None:
    """A wrong value is explained beside its field, and the form keeps what was entered over a reload."""
    tab = browser.tab
    await browser.until(form("levels", levels="8,x", slo="coding-assistant"))
    said = await browser.until(f"{ERROR}('levels')")
    assert "8,x" in said
    assert await tab.ask("document.activeElement.id") == "f-levels"
    assert await tab.ask("document.querySelector('#f-levels').getAttribute('aria-invalid')") == "true"
    await browser.until(form("levels", levels="2", timeout_gap="soon"))
    assert "soon" in await browser.until(f"{ERROR}('timeout_gap')")  # in the folded group, which opens
    await browser.until(form("levels", levels=""))
    assert await browser.until(f"{ERROR}('levels')")
    await browser.until(form("levels", levels="8,x", slo="coding-assistant"))
    await browser.until(f"{ERROR}('levels')")
    await browser.go("/")
    await browser.until(f"document.readyState === 'complete' && {BAR}.classList.contains('idle')")
    assert await tab.ask(VALUES) == ["levels", "8,x", "coding-assistant"]


async def run_by_hand(browser: Browser) -> None:
    """Ramp by hand, look at the charts, stop, and open the report from the bar."""
    tab = browser.tab
    await browser.until(form("hand", user_count="2", spawn_rate="8", slo="chat"))
    await browser.until(f"{BAR}.classList.contains('running') && !!document.querySelector('#root [role=tab]')")
    assert await tab.ask("document.getElementById('probe-start').checkVisibility()") is False
    await browser.until(PRESS.format(name="edit"))
    await browser.until(FILL.format(users=4))
    await browser.until("/\\n4\\n/.test(document.body.innerText)")
    await browser.until("/4 people/.test(" + BAR_TEXT + ")")
    await browser.until(PRESS.format(name="charts"))
    await browser.until("document.querySelectorAll('#probe-charts path').length === 4")
    assert await tab.ask("!!document.querySelector('#root main #probe-charts ~ div canvas')")  # above Locust's own
    await is_accessible(browser)
    await browser.until(PRESS.format(name="download data"))
    order = await browser.until(f"({ORDER}).length > 6 && {ORDER}")
    ours = [href for href in order if "probe/" in href]
    assert order[: len(ours)] == ours  # above Locust's
    assert await tab.ask("document.getElementById('probe-charts').hidden") is True
    await browser.until(PRESS.format(name="stop"))
    await has_answer(browser, "people")


async def has_answer(browser: Browser, words: str) -> None:
    """The bar says what the report says, with its downloads."""
    await browser.until(f"{BAR}.classList.contains('ended') && !{REPORT}.hidden")
    said = str(await browser.tab.ask(BAR_TEXT))
    assert words in said, said
    assert "verdict (JSON)" in said
    assert await browser.tab.ask(COVERED) == 0
    await is_accessible(browser)


async def opens_the_report(browser: Browser, number: int) -> None:
    """The bar's button leads to the report of the newest run."""
    href = await browser.tab.ask(f"{REPORT}.href")
    await browser.tab.call("Page.navigate", url=href)
    await browser.until(f"location.pathname.endsWith('/runs/{number}/capacity.html') && !!document.querySelector('h1')")
    await browser.go("/")
    await browser.until(f"!!document.querySelector('#root header') && {BAR}.classList.contains('ended')")


async def three_runs(browser: Browser) -> None:
    """Act as the operator."""
    for domain in ("Page", "Network", "Runtime", "Log"):
        await browser.tab.call(f"{domain}.enable")
    await browser.tab.resize(1280, 900)
    await browser.go("/")
    await browser.until("!!document.querySelector('#root header') && !!document.getElementById('probe-form')")
    await is_accessible(browser)
    await browser.tab.resize(390, 900)
    assert int(await browser.tab.ask("document.getElementById('probe-start').scrollWidth")) <= 390
    await browser.tab.resize(1280, 900)
    await refuses_and_keeps(browser)
    await run_by_hand(browser)
    await opens_the_report(browser, 1)
    for number, script in ((2, form("levels", levels="1,2")), (3, form("search", max_users="2", search_time="20s"))):
        await browser.until(PRESS.format(name="new"))
        await browser.until(script)
        await browser.until(f"{BAR}.classList.contains('running')")
        await has_answer(browser, "2 ")  # both end by themselves
        await opens_the_report(browser, number)


def test_three_runs_from_the_form_to_the_report(tmp_path: Path) -> None:
    port = str(free_port())
    with simulated("--profile", "demo", "--speed", "4") as host:
        command = [str(BIN / "locust"), "-f", str(CAPACITY), "--host", host, "--out", str(tmp_path / "run")]
        ui = start([*command, "--web-host", "127.0.0.1", "--web-port", port, "--loglevel", "WARNING"])
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for(lambda: _answers(Web(url)), "the web UI")

            async def drive() -> None:
                async with chrome.tab() as tab:
                    await three_runs(Browser(tab, url))

            asyncio.run(drive())
            told = json.loads(Web(url).get("/probe/live.json"))
            assert [run["report"] for run in told["runs"]] == ["ready"] * 3
            plans = [
                json.loads((tmp_path / name / "run.json").read_text())["plan"] for name in ("run", "run-2", "run-3")
            ]
            assert plans[0] is None
            assert plans[1]["levels"] == [1, 2]
            assert plans[2] is not None
        finally:
            end(ui)
            finished(ui, tmp_path)
