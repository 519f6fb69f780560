"""What axe-core finds on the live page: nothing, in light and dark, on a desk and on a phone.

`make test-page` installs axe-core, see `tests/report/test_report_axe.py`.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from test_live_browser import DRAWN, Served, Visit, chrome, go, served, until, visit  # noqa: F401 (fixtures)

ABSENT = "ACCESSIBILITY IS NOT TESTED: no Chromium here" if chrome.BROWSER is None else chrome.NO_AXE or ""
if ABSENT:
    warnings.warn(ABSENT, stacklevel=1)
pytestmark = pytest.mark.skipif(bool(ABSENT), reason=ABSENT)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_has_no_accessibility_violations(
    visit: Callable[[Visit], None],  # noqa: F811 (a fixture)
    served: Served,  # noqa: F811 (a fixture)
    tmp_path: Path,
    width: int,
    dark: bool,
) -> None:
    served.ui.begin(tmp_path / "run")

    async def look(tab: chrome.Tab) -> None:
        await go(tab, served.url, width, dark=dark)
        await until(tab, DRAWN)
        await tab.ask("document.getElementById('pause').click()")
        assert await tab.violations() == []

    visit(look)
