"""A run without --host finds what is a server, on loopback alone, and says what it tried."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from probe_ext.access import local_servers
from probe_ext.access.local_servers import LocalLook, LocalServer, choose, find_local_servers
from probe_ext.settings.errors import SettingsError
from tests.target.loopback import Loopback


def page(value: object) -> tuple[int, bytes]:
    return 200, json.dumps(value).encode()


def models(owner: str, *names: str) -> tuple[int, bytes]:
    return page({"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner} for name in names]})


VLLM_METRICS = (200, b'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model_name="tiny"} 0\n')
SERVERS: dict[str, tuple[dict[str, Any], str]] = {
    "vllm": ({"/v1/models": models("vllm", "tiny"), "/version": page({"version": "0.32.0"})}, "vLLM 0.32.0 (tiny)"),
    "llama.cpp": ({"/v1/models": models("llamacpp", "q.gguf")}, "llama.cpp (q.gguf)"),
    "ollama": (
        {"/v1/models": models("library", "q:7b"), "/api/version": page({"version": "0.9"})},
        "Ollama 0.9 (q:7b)",
    ),
    "lm-studio": ({"/v1/models": models("organization_owner", "q-7b")}, "LM Studio (q-7b)"),
    "sglang": ({"/v1/models": models("sglang", "m")}, "SGLang (m)"),
    "another": ({"/v1/models": models("me", "m")}, "an OpenAI-compatible server (m)"),
    "guarded": ({"/v1/models": (401, b"{}"), "/metrics": VLLM_METRICS}, "vLLM (None)"),
    "empty": ({"/v1/models": models("x"), "/api/version": page({"version": "0.9"})}, "Ollama 0.9 (None)"),
}
OTHERS: dict[str, dict[str, Any]] = {
    "a web page": {"/": (200, b"<html>hello</html>")},
    "an HTML page for everything": {"/v1/models": (200, b"<!doctype html><html></html>")},
    "a service with a version": {"/version": page({"version": "1"}), "/api/version": page({"version": "1"})},
    "a guarded service": {"/v1/models": (401, b"{}"), "/info": page({"version": "1"})},
    "a service with models of another kind": {"/v1/models": page({"data": [{"id": "roadster"}]})},
    "metrics of something else": {"/v1/models": (401, b"{}"), "/metrics": (200, b"up 1\n")},
}


def port_of(server: Loopback) -> int:
    return int(server.url.rpartition(":")[2])


@contextmanager
def serving(*pages: dict[str, Any]) -> Iterator[list[Loopback]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Loopback(each)) for each in pages]


def test_servers_are_known_by_what_they_say_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, as in a run; nothing gets the API key."""
    monkeypatch.setenv("PROBE_API_KEY", "secret-key")
    with serving(*(pages for pages, _ in SERVERS.values()), *OTHERS.values()) as running:
        ports = [port_of(server) for server in running]
        look = find_local_servers(ports)
        sent = str([server.requests for server in running])
    found = {server.url.rpartition(":")[2]: server for server in look.found}
    for port, (name, (_, expected)) in zip(ports, SERVERS.items(), strict=False):
        server = found.pop(str(port))
        version = f" {server.version}" if server.version else ""
        shown = local_servers.NAMES.get(server.kind, server.kind).replace("unknown", "an OpenAI-compatible server")
        assert f"{shown}{version} ({server.model})" == expected, name
        assert str(server).startswith(f"{shown}{version} at http://127.0.0.1:{port} (")
    assert found == {}
    assert [why.split()[1] for why in look.others] == [str(port) for port in ports[len(SERVERS) :]]
    assert "secret-key" not in sent
    assert "Authorization" not in sent


def test_a_port_that_nobody_listens_on_is_not_mentioned_and_a_silent_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_servers, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = [silent.getsockname()[1], closed.getsockname()[1]]
        closed.close()
        assert find_local_servers(ports) == LocalLook((), (f"port {ports[0]} (timed out)",))


VLLM = LocalServer("http://127.0.0.1:8000", "vllm", "0.32.0", "tiny")
LLAMA = LocalServer("http://127.0.0.1:8080", "llama.cpp", None, "q.gguf")
OLLAMA = LocalServer("http://127.0.0.1:11434", "ollama", "0.9", "q:7b")
STUDIO = LocalServer("http://127.0.0.1:1234", "lm-studio", None, None)


def test_the_only_server_is_taken_and_named() -> None:
    chosen, said = choose(LocalLook((OLLAMA,)))
    assert chosen is OLLAMA
    assert said == (
        "testing Ollama 0.9 at http://127.0.0.1:11434 (model q:7b), found on this machine. Another one: --host URL"
    )


def test_a_server_that_somebody_started_is_taken_before_desktop_services() -> None:
    chosen, said = choose(LocalLook((OLLAMA, VLLM, STUDIO)))
    assert chosen is VLLM
    assert "Also found: Ollama 0.9 at http://127.0.0.1:11434 (model q:7b); LM Studio at http://127.0.0.1:1234" in said


@pytest.mark.parametrize("found", [(VLLM, LLAMA), (VLLM, OLLAMA, LLAMA), (OLLAMA, STUDIO)])
def test_of_equals_none_is_guessed(found: tuple[LocalServer, ...]) -> None:
    with pytest.raises(SettingsError, match=r"^--host: missing, and several servers run here: .*Name one with --host"):
        choose(LocalLook(found))


def test_without_a_server_every_port_that_was_tried_is_named() -> None:
    with pytest.raises(SettingsError) as refusal:
        choose(LocalLook((), ("port 8080 (404)",)))
    said = str(refusal.value)
    assert "\n" not in said
    for named in ("8000 (vLLM)", "8080 (llama.cpp)", "11434 (Ollama)", "1234 (LM Studio)", "--host URL", "`probe sim`"):
        assert named in said
    assert "something answers on port 8080 (404)" in said


def test_a_model_name_cannot_fill_the_terminal() -> None:
    assert len(str(LocalServer("http://127.0.0.1:8000", "vllm", None, "m\x1b[2J" * 500))) < 150
