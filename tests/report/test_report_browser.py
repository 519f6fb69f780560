"""The page in a real browser: no requests, no errors, and it fits every width, with scripts and without."""

import asyncio
import base64
import contextlib
import re
import warnings
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import chrome
import pytest
from hostile_run import hostile_run

from probe_ext.report import report_command

if chrome.BROWSER is None:
    warnings.warn("no Chromium here: THE PAGE IS NOT TESTED IN A BROWSER", stacklevel=1)
pytestmark = pytest.mark.skipif(chrome.BROWSER is None, reason="no Chromium: THE PAGE IS NOT TESTED IN A BROWSER")

Visit = Callable[[chrome.Tab], Coroutine[Any, Any, None]]
Visitor = Callable[[Visit], None]


@pytest.fixture(scope="module")
def visit() -> Iterator[Visitor]:
    """Share one browser among all tests of this module, because it starts slowly."""
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        tab = runner.run(stack.enter_async_context(chrome.tab()))
        yield lambda do: runner.run(do(tab))
        runner.run(stack.aclose())


async def width_needed(tab: chrome.Tab) -> int:
    return int(await tab.ask("document.documentElement.scrollWidth"))


@pytest.mark.parametrize("dark", [False, True])
def test_page_asks_for_nothing_and_fits_every_width(
    visit: Visitor, whole_run: Path, tmp_path: Path, dark: bool
) -> None:
    async def look(tab: chrome.Tab) -> None:
        page = whole_run / "capacity.html"
        for width in (1280, 390):
            await tab.open(page, width, dark=dark)
            assert await width_needed(tab) <= width
            shot = await tab.picture(tmp_path / f"page_{width}.png")
            assert shot.stat().st_size > 50_000
            assert tab.requests == [page.resolve().as_uri()]
            assert tab.console == []

    visit(look)


def test_without_scripts_everything_but_the_pointer_is_there(visit: Visitor, whole_run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 1280, scripts=False)
        text = str(await tab.ask("document.body.innerText"))
        assert "About 6 people can use this at once." in text
        assert "Level by level" in text
        drawn = "[...document.querySelectorAll('svg.plot')]"
        tall = f"{drawn}.filter(e => e.getBoundingClientRect().height > 10)"
        # the levels, three questions, nine lanes and their axis, the gaps of four levels and theirs
        assert [await tab.ask(f"{found}.length") for found in (drawn, tall)] == [19, 19]
        assert await tab.ask("document.querySelector('.tools').offsetHeight") == 0

    visit(look)


def test_pointer_keys_and_zoom(visit: Visitor, whole_run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 1280)
        await tab.resize(1280, 3000)
        read = "[...document.querySelectorAll('.stamp,.now')].map(e => e.textContent)"
        view = "document.querySelector('.strip .inner').viewBox"
        box = await tab.ask("(r => [r.left, r.top, r.width])(document.querySelector('.strip').getBoundingClientRect())")
        left, top, width = box
        await tab.mouse("mouseMoved", left + 0.9 * width, top + 20)
        assert (await tab.ask(read))[0] == "8"
        assert (await tab.ask(read))[-1] == "2:24"
        await tab.mouse("mousePressed", left + 0.5 * width, top + 20)
        await tab.mouse("mouseMoved", left + 0.75 * width, top + 20)
        await tab.mouse("mouseReleased", left + 0.75 * width, top + 20)
        assert await tab.ask(f"{view}.baseVal.x") == pytest.approx(500, abs=3)
        assert await tab.ask(f"{view}.baseVal.width") == pytest.approx(250, abs=3)
        await tab.ask("document.querySelector('.lanes').focus()")
        await tab.key("0")
        assert await tab.ask(f"{view}.baseVal.width") == pytest.approx(1000)
        await tab.key("+")
        assert await tab.ask(f"{view}.baseVal.width") == pytest.approx(500)
        await tab.ask("document.querySelector('.tools').lastChild.click()")
        assert await tab.ask("document.querySelector('.tools').lastChild.getAttribute('aria-pressed')") == "true"
        assert tab.console == []

    visit(look)


def test_a_finger_reads_and_zooms(visit: Visitor, whole_run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 390)
        await tab.resize(390, 9000)
        await tab.call("Emulation.setTouchEmulationEnabled", enabled=True)
        box = "(r => [r.left, r.top, r.width])(document.querySelector('{}').getBoundingClientRect())"
        left, top, width = await tab.ask(box.format(".strip"))

        async def touch(kind: str, *points: tuple[float, float]) -> None:
            touching = [{"x": x, "y": y} for x, y in points]
            await tab.call("Input.dispatchTouchEvent", type=kind, touchPoints=touching)

        await touch("touchStart", (left + 0.9 * width, top + 20))
        await touch("touchEnd")
        read = "[...document.querySelectorAll('.stamp,.now')].map(e => e.textContent)"
        assert (await tab.ask(read))[0] == "8"
        assert (await tab.ask(read))[-1] == "2:24"
        await touch("touchStart", (left + 0.5 * width, top + 20))
        for share in (0.55, 0.65, 0.75):
            await touch("touchMove", (left + share * width, top + 20))
        await touch("touchEnd")
        view = "document.querySelector('.strip .inner').viewBox.baseVal"
        assert await tab.ask(f"{view}.x") == pytest.approx(500, abs=10)
        assert await tab.ask(f"{view}.width") == pytest.approx(250, abs=20)
        left, top, width = await tab.ask(box.format("svg.stack"))
        await touch("touchStart", (left + 0.9 * width, top + 100))
        await touch("touchEnd")
        shown = "[...document.querySelectorAll('.read')].filter(e => !e.hidden).map(e => e.textContent)"
        assert await tab.ask(shown) == ["8 users: 56 % served, 44 % strained (fails)"]
        await tab.call("Emulation.setTouchEmulationEnabled", enabled=False)
        assert tab.console == []

    visit(look)


TIP = "(t => t.hidden ? '' : t.textContent)(document.querySelector('.tip'))"


def middle(selector: str) -> str:
    """Return a script for the centre of an element."""
    box = f"document.querySelector('{selector}').getBoundingClientRect()"
    return f"(r => [r.left + r.width / 2, r.top + r.height / 2])({box})"


def test_every_figure_shows_its_definition_on_hover_and_focus(visit: Visitor, whole_run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 1280)
        await tab.resize(1280, 6000)
        await tab.mouse("mouseMoved", *await tab.ask(middle("h1 a.term")))
        assert str(await tab.ask(TIP)).startswith("The largest number of concurrent users")
        await tab.mouse(
            "mouseMoved",
            *await tab.ask(
                middle(".levels-table ~ .levels-table td, .tw:has(.levels-table) + .tw tr:last-child td:nth-child(2)")
            ),
        )
        assert str(await tab.ask(TIP)).startswith("throughput at 8 users: ")
        await tab.ask("document.querySelector('.card a.term').focus()")
        assert str(await tab.ask(TIP)).startswith("The wait from when the user wanted to send")
        await tab.key("Escape")
        assert await tab.ask(TIP) == ""
        await tab.mouse("mouseMoved", 1, 1)
        await tab.ask("document.querySelector('.levels-table td[data-t]').focus()")
        assert str(await tab.ask(TIP)).startswith("result at 1 user: ✓")
        for key, start in (
            ("ArrowDown", "result at 2"),
            ("ArrowRight", "share served at 2 users: 100 %"),
            ("ArrowUp", "share served at 1"),
        ):
            await tab.key(key)
            assert str(await tab.ask(TIP)).startswith(start)
        stops = "[...document.querySelectorAll('table')].map(t => t.querySelectorAll('td[tabindex=\"0\"]').length)"
        assert set(await tab.ask(stops)) == {1}, "one Tab stop per table"
        untold = "[...document.querySelectorAll('td')].filter(c => /\\d/.test(c.textContent) && !c.dataset.t"
        untold += " && !c.closest('.taken,.scale')).map(c => c.textContent)"
        assert [text for text in await tab.ask(untold) if ":" not in text] == []
        lost = "filter(a => !document.getElementById(a.getAttribute('aria-describedby')))"
        described = f"[...document.querySelectorAll('a.term')].{lost}"
        assert await tab.ask(f"{described}.length") == 0
        untold = (
            "[...document.querySelectorAll('td[data-t]')].filter(c => !document.querySelector(`#d-${c.dataset.t} dd`))"
        )
        assert await tab.ask(f"{untold}.length") == 0

    visit(look)


def test_without_scripts_a_definition_shows_on_focus(visit: Visitor, whole_run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 390, scripts=False)
        await tab.ask("document.querySelector('h1 a.term').focus()")
        for _ in range(3):
            await tab.key("Tab")
        shown = "filter(a => getComputedStyle(a, '::after').position === 'fixed').length"
        assert await tab.ask(f"[...document.querySelectorAll('a.term')].{shown}") == 1
        assert await width_needed(tab) <= 390

    visit(look)


def test_charts_by_level_follow_pointer_and_keys_together(visit: Visitor, whole_run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 1280)
        await tab.resize(1280, 6000)
        read = "[...document.querySelectorAll('.read')].filter(e => !e.hidden).map(e => e.textContent)"
        left, top, width = await tab.ask(
            "(r => [r.left, r.top, r.width])(document.querySelector('svg.stack').getBoundingClientRect())"
        )
        await tab.mouse("mouseMoved", left + 0.9 * width, top + 100)
        assert await tab.ask(read) == ["8 users: 56 % served, 44 % strained (fails)"]
        assert await tab.ask("document.querySelectorAll('.chosen[x=\"75%\"]').length") == 4
        await tab.mouse("mouseMoved", 1, 1)
        assert await tab.ask(read) == []
        await tab.ask("document.querySelector('svg.mini').parentNode.focus()")
        await tab.key("ArrowRight")
        await tab.key("ArrowRight")
        assert await tab.ask(read) == ["2 users: 0.10 s"]
        assert await tab.ask("document.querySelector('tr.chosen th').textContent") == "2"
        assert tab.console == []

    visit(look)


def test_the_tab_key_reaches_every_control(visit: Visitor, whole_run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 1280)
        await tab.ask("document.addEventListener('focusin', e => { e.target.dataset.reached = '1' })")
        controls = "[...document.querySelectorAll('a[href],button,select,summary,[tabindex=\"0\"]')]"
        visible = f"{controls}.filter(e => e.checkVisibility())"
        for _ in range(int(await tab.ask(f"{visible}.length")) + 5):
            await tab.key("Tab")
        missed = f"{visible}.filter(e => !e.dataset.reached).map(e => e.outerHTML.slice(0, 120))"
        assert await tab.ask(missed) == []
        assert int(await tab.ask(f"{visible}.length")) > 40

    visit(look)


def test_print_is_short_and_leaves_out_controls_and_what_is_folded(visit: Visitor, whole_run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 1280)
        await tab.call("Emulation.setEmulatedMedia", media="print")
        for hidden in (".tools", "details", ".glossary"):
            assert await tab.ask(f"document.querySelector('{hidden}').checkVisibility()") is False
        for visible in ("h1", "svg.stack", ".levels-table", ".print-note"):
            assert await tab.ask(f"document.querySelector('{visible}').checkVisibility()") is True
        pdf = base64.b64decode((await tab.call("Page.printToPDF", printBackground=True))["data"])
        assert len(re.findall(rb"/Type /Page\b", pdf)) <= 3
        await tab.call("Emulation.setEmulatedMedia", media="")

    visit(look)


def test_hostile_text_runs_no_script(visit: Visitor, run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(run / "capacity.html", 390)
        assert await tab.ask("document.images.length") == 0
        assert await tab.ask("document.scripts.length") == 2
        assert len(tab.requests) == 1
        assert tab.console == []
        assert await width_needed(tab) <= 390

    report_command.build(hostile_run(run))
    visit(look)


def test_every_picture_and_control_has_a_name(visit: Visitor, whole_run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 1280)
        nameless = (
            "[...document.querySelectorAll('svg[role=img],button,[role=group],[role=region]')].filter(e => {n}).length"
        )
        named = "!(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim())"
        assert await tab.ask(nameless.replace("{n}", named)) == 0
        lost = "[...document.querySelectorAll('a[href^=\"#\"]')].filter(a => !document.querySelector(a.hash)).length"
        assert await tab.ask(lost) == 0
        assert await tab.ask("document.querySelectorAll('h1').length") == 1

    visit(look)


async def downloaded(tab: chrome.Tab, to: Path, name: str) -> Path:
    """Wait until a download is complete."""
    for _ in range(200):
        if (to / name).exists() and not list(to.glob("*.crdownload")):
            return to / name
        await tab.ask("1")
        await asyncio.sleep(0.05)
    raise AssertionError(f"no {name}, but {[path.name for path in to.iterdir()]}")


def test_every_picture_can_be_saved(visit: Visitor, whole_run: Path, tmp_path: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 1280)
        await tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        assert await tab.ask("[...document.querySelectorAll('svg.plot')].filter(e => !e.closest('.pic')).length") == 0
        pictures = int(await tab.ask("document.querySelectorAll('.pic').length"))
        assert await tab.ask("document.querySelectorAll('.save button').length") == 2 * pictures
        press = "[...document.querySelectorAll('.save')][{0}].querySelectorAll('button')[{1}].click()"
        await tab.ask(press.format(0, 0))
        name = "share-of-replies-served"
        text = (await downloaded(tab, tmp_path, f"{name}.svg")).read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)  # well-formed
        said = " ".join(e.text or "" for e in root.iter("{http://www.w3.org/2000/svg}text"))
        assert "about 6" in said
        assert "strained" in said, "the legend"
        assert "class=" not in text
        assert "var(" not in text
        await tab.ask(press.format(0, 1))
        png = (await downloaded(tab, tmp_path, f"{name}.png")).read_bytes()
        assert png.startswith(b"\x89PNG")
        assert int.from_bytes(png[16:20]) > 1000
        assert len(png) > 20_000
        timeline = await tab.ask("[...document.querySelectorAll('.save')].findIndex(e => e.closest('#time'))")
        await tab.ask(press.format(timeline, 0))
        lanes = ElementTree.fromstring((await downloaded(tab, tmp_path, "timeline.svg")).read_text(encoding="utf-8"))
        assert len(lanes.findall("{http://www.w3.org/2000/svg}svg")) > 5
        assert tab.console == []

    visit(look)


def test_answer_and_command_can_be_copied(visit: Visitor, whole_run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 1280)
        await tab.ask("navigator.clipboard.writeText = async text => { window.copied = text }")
        for which, start in (("answer", "About 6 people can use this at once (95 %: "), ("next-command", "probe run ")):
            await tab.ask(f"document.querySelector('[data-copy={which}]').click()")
            await asyncio.sleep(0.1)
            assert str(await tab.ask("window.copied")).startswith(start)
        assert await tab.ask("document.querySelector('[data-copy=answer]').textContent") == "Copied"
        await tab.ask("navigator.clipboard.writeText = async () => { throw new Error('not allowed') }")
        await tab.ask("document.execCommand = () => false")
        await tab.ask("document.querySelector('[data-copy=next-command]').click()")
        await asyncio.sleep(0.1)
        assert "by hand" in str(await tab.ask("document.querySelector('[data-copy=next-command]').textContent"))

    visit(look)


def test_contents_and_files_are_linked(visit: Visitor, whole_run: Path) -> None:
    async def look(tab: chrome.Tab) -> None:
        await tab.open(whole_run / "capacity.html", 1280, scripts=False)
        assert await tab.ask("document.querySelectorAll('.contents a').length") > 7
        linked = await tab.ask("[...document.querySelectorAll('.files a')].map(a => a.getAttribute('href'))")
        assert {"capacity.json", "requests.csv", "run.json"} <= set(linked)
        assert [name for name in linked if not (whole_run / name).exists()] == []
        sections = "[...document.querySelectorAll('main h2[id]:not(.quiet)')].map(e => e.id)"
        listed = "[...document.querySelectorAll('.contents a')].map(a => a.hash.slice(1))"
        assert set(await tab.ask(sections)) == set(await tab.ask(listed)) - {"h-files"}
        assert await tab.ask("[...document.querySelectorAll('button')].filter(e => e.checkVisibility()).length") == 0

    visit(look)
