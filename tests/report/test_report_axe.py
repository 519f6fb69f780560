"""axe-core finds no violations on the page: light and dark, desktop and phone. `make test-page` installs it."""

import warnings
from pathlib import Path

import chrome
import pytest
from hostile_run import hostile_run
from test_report_browser import Visitor, visit  # noqa: F401 (a fixture)

from probe_ext.report import report_command

ABSENT = "ACCESSIBILITY IS NOT TESTED: no Chromium here" if chrome.BROWSER is None else chrome.NO_AXE or ""
if ABSENT:
    warnings.warn(ABSENT, stacklevel=1)
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=ABSENT)


async def faults(tab: chrome.Tab, page: Path, width: int, *, dark: bool) -> list[list[str]]:
    """Return all violations: impact, rule, and where."""
    await tab.open(page, width, dark=dark)
    await tab.ask("document.querySelectorAll('details').forEach(d => { d.open = true })")
    return await tab.violations()


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_fault(visit: Visitor, whole_run: Path, width: int, dark: bool) -> None:  # noqa: F811 (a fixture)
    async def look(tab: chrome.Tab) -> None:
        assert await faults(tab, whole_run / "capacity.html", width, dark=dark) == []

    visit(look)


@pytest.mark.parametrize("dark", [False, True])
def test_no_fault_where_much_is_amiss(visit: Visitor, run: Path, dark: bool) -> None:  # noqa: F811 (a fixture)
    async def look(tab: chrome.Tab) -> None:
        assert await faults(tab, run / "capacity.html", 390, dark=dark) == []

    report_command.build(hostile_run(run))
    visit(look)


def test_the_check_can_fail(visit: Visitor, whole_run: Path, tmp_path: Path) -> None:  # noqa: F811 (a fixture)
    async def look(tab: chrome.Tab) -> None:
        found = await faults(tab, spoiled, 1280, dark=False)
        assert {"svg-img-alt", "color-contrast"} <= {rule for _, rule, *_ in found}

    spoiled = tmp_path / "spoiled.html"
    text = (whole_run / "capacity.html").read_text(encoding="utf-8")
    spoiled.write_text(text.replace("aria-label", "data-none").replace("--mut:#5f6369", "--mut:#ddd"), encoding="utf-8")
    visit(look)
