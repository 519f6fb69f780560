"""A headless Chromium, driven over its debugging protocol."""

import asyncio
import base64
import contextlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import aiohttp

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(__file__).parent / "axe" / "node_modules" / "axe-core" / "axe.min.js"
"""axe-core, which `make test-page` installs with npm, for development only: version and checksum are in `axe/`"""
NO_AXE = None if AXE.exists() else "ACCESSIBILITY IS NOT TESTED: axe-core is not installed; `make test-page` does"
_ASK_AXE = """axe.run(%s, {resultTypes: ["violations"]})
.then(found => JSON.stringify(found.violations.map(fault => [
  fault.impact, fault.id,
  fault.nodes.slice(0, 4).map(node => node.html.slice(0, 200) + " | " + node.any.map(one => one.message).join("; "))
])))"""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


class Tab:
    """One page, with a log of its requests and console messages."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._number = socket, 0
        self.requests: list[str] = []
        self.console: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command; events that come before its response are logged."""
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        while True:
            message = json.loads((await self._socket.receive(timeout=120)).data)
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message["method"] == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif message["method"] == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded":
            self.console.append(str(params["entry"]["text"]))
        elif message["method"] == "Runtime.consoleAPICalled":
            self.console.append(str(params["args"]))

    async def open(self, page: Path, width: int, *, dark: bool = False, scripts: bool = True) -> Self:
        """Load a page at a width, and clear the logs."""
        self.requests, self.console = [], []
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        await self.resize(width, 900)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        await self.call("Page.navigate", url=page.resolve().as_uri())
        for _ in range(100):
            if await self.ask("document.readyState") == "complete":
                return self
            await asyncio.sleep(0.05)
        raise AssertionError("the page did not load")

    async def resize(self, width: int, height: int) -> None:
        """Change the window size, or emulate a phone."""
        phone = width < 600
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )

    async def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, even if the page's own scripts are disabled."""
        return (await self.call("Runtime.evaluate", expression=expression, returnByValue=True))["result"].get("value")

    async def picture(self, to: Path) -> Path:
        """Return the whole page as a PNG."""
        shot = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        to.write_bytes(base64.b64decode(shot["data"]))
        return to

    async def violations(self, within: str = "html") -> list[list[str]]:
        """Return what axe-core finds: impact, rule, and where. The debugger's scripts are exempt from policies.

        `within`: selector of the parts to look at.
        """
        await self.ask(AXE.read_text(encoding="utf-8") + ";0")
        found = await self.call(
            "Runtime.evaluate", expression=_ASK_AXE % repr(within), awaitPromise=True, returnByValue=True
        )
        return list(json.loads(found["result"]["value"]))

    async def mouse(self, kind: str, x: float, y: float) -> None:
        """Send `mouseMoved`, `mousePressed` or `mouseReleased`."""
        pressed = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {}
        await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)

    async def key(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": key} if len(key) == 1 else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)


@contextlib.asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    """Start a browser with its own profile; both are removed at the end."""
    assert BROWSER
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as browser:
            try:
                port = await asyncio.to_thread(_port, browser)
                async with aiohttp.ClientSession() as session:
                    async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                        pages = [t for t in await answer.json() if t["type"] == "page"]
                    async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                        yield Tab(socket)
            finally:
                browser.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    browser.wait(5)
                browser.kill()


def _port(browser: "subprocess.Popen[str]") -> str:
    assert browser.stderr
    for line in browser.stderr:
        if found := re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line):
            return found[1]
    raise AssertionError("Chromium did not start")
