"""``python -m scripts.page.pictures RUN``: take the screenshots of a report for the README and the docs.

Needs Chromium. Each is a PNG of at most 200 KB: the first screen on a desktop, the same in dark mode and on a phone,
the first page on paper, and the time chart in dark mode with the cursor on it. Prints how many pages the report takes
on paper. With ``--live``, the live page of a test that is running now; with ``--form``, the start form of a web UI
without a run.
"""

import argparse
import asyncio
import base64
import re
import sys
from pathlib import Path

from tests.report import chrome

OUT = Path(__file__).parents[2] / "docs" / "images"
LIVE_UPDATES_S = 3.0
A4_PX = (794, 1123)
MARGIN_PX = 42  # the page's own 11 mm


async def take_screenshots(page: Path, out: Path) -> None:
    """Write the screenshots."""
    async with chrome.tab() as tab:
        await tab.open(page, 1280)
        await _screenshot(tab, out / "report.png", (0, 0, 1280, 845))
        await tab.open(page, 390)
        await _screenshot(tab, out / "report-phone.png", (0, 0, 390, 1180))
        await take_print(tab, page, out / "report-print.png")
        await tab.open(page, 1280, dark=True)
        await _screenshot(tab, out / "report-dark.png", (0, 0, 1280, 845))
        await tab.resize(1280, 6000)
        press = "document.querySelector('.lanes').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
        for _ in range(12):
            await tab.ask(press)
        _, top, _, height = await tab.ask(_BOX.replace("%", "#time"))
        await _screenshot(tab, out / "report-time.png", (0, top - 110, 1280, height + 130))


async def take_print(tab: chrome.Tab, page: Path, to: Path) -> None:
    """Write the first sheet as it is printed, and say how many sheets there are."""
    await tab.open(page, A4_PX[0])
    pdf = await tab.call(
        "Page.printToPDF", printBackground=True, preferCSSPageSize=True, paperWidth=8.27, paperHeight=11.69
    )
    sheets = re.findall(rb"/Type /Page\b", base64.b64decode(pdf["data"]))
    print(f"in print: {len(sheets)} pages")
    await tab.call("Emulation.setEmulatedMedia", media="print")
    await tab.ask(f"document.body.style.padding = '{MARGIN_PX}px'")
    await _screenshot(tab, to, (0, 0, A4_PX[0], A4_PX[1] - MARGIN_PX))
    await tab.call("Emulation.setEmulatedMedia", media="")


async def take_live_screenshot(report: Path, url: str, to: Path) -> None:
    """Write the first screen of a live page, with the charts of the whole run."""
    async with chrome.tab() as tab:
        await tab.open(report, 1024)  # sets the window up
        await tab.call("Page.navigate", url=url)
        await asyncio.sleep(LIVE_UPDATES_S)
        await tab.ask("document.querySelector('#whole').click()")
        await asyncio.sleep(LIVE_UPDATES_S)
        await _screenshot(tab, to, (0, 0, 1024, 1400))


async def take_form_screenshot(report: Path, url: str, to: Path) -> None:
    """Write the start form on Locust's page."""
    async with chrome.tab() as tab:
        await tab.open(report, 1024)  # sets the window up
        await tab.call("Page.navigate", url=url)
        await asyncio.sleep(LIVE_UPDATES_S)
        await tab.ask("document.querySelector('[value=levels]').click()")
        await tab.ask("document.querySelector('#f-levels').value = '1,2,4,8,16'")
        await _screenshot(tab, to, (0, 0, 1024, 1270))


_BOX = "(r => [r.left, r.top, r.width, r.height])(document.querySelector('%').getBoundingClientRect())"


async def _screenshot(tab: chrome.Tab, to: Path, box: tuple[float, float, float, float]) -> None:
    clip = dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"scale": 1}
    shot = await tab.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
    to.write_bytes(base64.b64decode(shot["data"]))
    print(f"{to}: {to.stat().st_size / 1000:.0f} KB")


def main() -> int:
    """Take the screenshots of one run's report."""
    parser = argparse.ArgumentParser(prog="python -m scripts.page.pictures", description=__doc__)
    parser.add_argument("run", type=Path, help="run directory with a report")
    parser.add_argument("--live", metavar="URL", help="take only the live page at this address, such as …:8089/probe/")
    parser.add_argument("--form", metavar="URL", help="take only the start form at this address, such as …:8089/")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    if chrome.BROWSER is None:
        print("Chromium is not installed", file=sys.stderr)
        return 2
    page = args.run / "capacity.html"
    if args.live:
        asyncio.run(take_live_screenshot(page, args.live, args.out / "live.png"))
    elif args.form:
        asyncio.run(take_form_screenshot(page, args.form, args.out / "form.png"))
    else:
        asyncio.run(take_screenshots(page, args.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
