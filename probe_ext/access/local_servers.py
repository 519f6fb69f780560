"""Find an LLM server on this machine, for a run without --host: by what answers on the engines' usual ports.

A port counts only if the server behind it is identified. Only loopback addresses are asked, all at once, with a short
timeout and without the API key or further headers: whatever listens there may be something else.
"""

import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from probe_ext.measure.safe_text import safe_text
from probe_ext.settings.errors import SettingsError
from probe_ext.target.control import urls
from probe_ext.target.control.call_result import Failed, json_object
from probe_ext.target.control.fetch import Fetcher
from probe_ext.target.server_identity import OK, Getter, identify, models

ADDRESSES = ("127.0.0.1", "[::1]")
USUAL_PORTS = {"vLLM": 8000, "llama.cpp": 8080, "Ollama": 11434, "LM Studio": 1234, "SGLang": 30000}
NAMES = {"vllm": "vLLM", "sglang": "SGLang", "ollama": "Ollama", "lm-studio": "LM Studio", "tgi": "TGI", "nim": "NIM"}
TIMEOUT_S = 2.0
_DEADLINE_S = 8.0  # for all pages of one server
_ALWAYS_ON = {"ollama", "lm-studio"}  # desktop services that run whether or not somebody wants them tested
_MAX_NAME_LENGTH = 60


@dataclass(frozen=True)
class LocalServer:
    """An LLM server that was identified."""

    url: str
    kind: str
    version: str | None = None
    model: str | None = None
    """the first listed model that can chat; None: none is listed, or the list requires a key"""

    def __str__(self) -> str:
        """Return `vLLM 0.32.0 at http://127.0.0.1:8000 (model tiny)`."""
        name = NAMES.get(self.kind, "an OpenAI-compatible server" if self.kind == "unknown" else self.kind)
        version = f" {self.version}" if self.version else ""
        model = f"model {safe_text(self.model, length=_MAX_NAME_LENGTH)}" if self.model else "no model listed"
        return f"{name}{version} at {self.url} ({model})"


@dataclass(frozen=True)
class LocalLook:
    """The result of looking at the usual ports."""

    found: tuple[LocalServer, ...]
    others: tuple[str, ...] = ()
    """`port 8080 (404)`: what answers there could not be identified as an LLM server"""


def find_local_servers(
    ports: Sequence[int] = tuple(USUAL_PORTS.values()), addresses: Sequence[str] = ADDRESSES
) -> LocalLook:
    """Ask all ports at once. A server that listens on several addresses is listed once."""
    places = [(port, f"http://{address}:{port}") for port in ports for address in addresses]
    answers: dict[str, LocalServer | str | None] = {}
    threads = [
        threading.Thread(target=lambda url=url: answers.update({url: look_at(url)}), daemon=True) for _, url in places
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_DEADLINE_S)
    found: dict[int, LocalServer] = {}
    others: dict[int, str] = {}
    for port, url in places:
        answer = answers.get(url, "timed out")
        if isinstance(answer, LocalServer):
            found.setdefault(port, answer)
        elif answer is not None:
            others.setdefault(port, f"port {port} ({answer})")
    return LocalLook(tuple(found.values()), tuple(why for port, why in others.items() if port not in found))


def look_at(url: str) -> LocalServer | str | None:
    """Return the server; else why what answers is not one; None where nothing accepts connections."""
    if not _accepts_connections(url):
        return None
    fetcher = Fetcher(timeout=TIMEOUT_S, give_up=True)
    listed = models(url, fetcher)
    if isinstance(listed, Failed) and listed.why == "timed out":
        return listed.why
    (entry,) = identify(url, fetcher)
    if isinstance(listed, Failed):
        # Many programs have a page with a version, so without a list of models only engine metrics identify a server.
        if listed.status not in {401, 403} or entry["metrics"] != OK:
            return listed.why
    elif entry["kind"] == "unknown" and not (listed and _is_openai_list(url, fetcher)):
        return "no list of models"
    return LocalServer(url, entry["kind"], entry["version"], entry["default_model"])


def _accepts_connections(url: str) -> bool:
    place = urlsplit(url)
    try:
        socket.create_connection((place.hostname or "", place.port or 0), TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _is_openai_list(url: str, fetcher: Getter) -> bool:
    page = json_object(fetcher.get(f"{urls.base(url)}/v1/models")) or {}
    return page.get("object") == "list"


def choose(look: LocalLook, model: str | None = None) -> tuple[LocalServer, str]:
    """Return the server to test, and what to tell the user. SettingsError if there is none, or no reason to choose.

    `model`: the one that was asked for, if any.
    """
    started = [server for server in look.found if server.kind not in _ALWAYS_ON]
    candidates = started or list(look.found)
    if not candidates:
        raise SettingsError(f"--host: missing, and {nothing_found(look)}")
    if len(candidates) > 1:
        listed = "; ".join(map(str, candidates))
        raise SettingsError(f"--host: missing, and several servers run here: {listed}. Name one with --host URL")
    chosen = candidates[0]
    rest = [server for server in look.found if server is not chosen]
    others = f" Also found: {'; '.join(map(str, rest))}." if rest else ""
    named = replace(chosen, model=model or chosen.model)
    return chosen, f"testing {named}, found on this machine.{others} Another one: --host URL"


def found_instead() -> str:
    """Say which servers answer on this machine where none listens on the port that was asked for."""
    look = find_local_servers()
    if look.found:
        return f"; found on this machine: {'; '.join(map(str, look.found))}"
    return "; no LLM server was found on this machine's usual ports. Start it, or give its address"


def nothing_found(look: LocalLook) -> str:
    """Say what was tried, and what helps."""
    tried = ", ".join(f"{port} ({name})" for name, port in USUAL_PORTS.items())
    others = f"; something answers on {', '.join(look.others)}" if look.others else ""
    return (
        f"no LLM server was found on this machine (tried ports {tried}{others}); "
        "name yours with --host URL, or start a simulated one with `probe sim`"
    )
