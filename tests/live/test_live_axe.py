"""What axe-core finds on the live page: nothing, in light and dark, on a desk and on a phone.

`make test-page` installs axe-core, see `tests/report/test_report_axe.py`.
"""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from test_live_browser import DRAWN, Served, Visit, chrome, go, served, until, visit  # noqa: F401 (fixtures)

AXE = Path(__file__).resolve().parents[1] / "report" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
ABSENT = "ACCESSIBILITY OF THE LIVE PAGE IS NOT TESTED: " + (
    "no Chromium here" if chrome.BROWSER is None else "axe-core is not installed; `make test-page` does"
)
if chrome.BROWSER is None or not AXE.exists():
    warnings.warn(ABSENT, stacklevel=1)
pytestmark = pytest.mark.skipif(chrome.BROWSER is None or not AXE.exists(), reason=ABSENT)

ASK = """axe.run(document, {resultTypes: ["violations"]}).then(found => JSON.stringify(found.violations.map(fault => [
  fault.impact, fault.id, fault.nodes.slice(0, 4).map(node => node.html.slice(0, 200))])))"""


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
        # The page's policy allows no other scripts; the debugger's scripts are exempt.
        await tab.ask(AXE.read_text(encoding="utf-8") + ";0")
        found = await tab.call("Runtime.evaluate", expression=ASK, awaitPromise=True, returnByValue=True)
        assert json.loads(found["result"]["value"]) == []

    visit(look)
