"""The server of a run without --host: the locustfile's own, one that is found, or a refusal in one line."""

from argparse import Namespace
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.access.local_servers import LocalLook, LocalServer
from probe_ext.settings.errors import SettingsError
from probe_ext.swarm.preparation import host_choice
from probe_ext.swarm.preparation.host_choice import choose_host

FOUND = LocalServer("http://127.0.0.1:8000", "vllm", "0.32.0", "tiny")


def environment(*hosts: str | None, given: str | None = None, headless: bool = True, finds: bool = True) -> Any:
    line = Namespace(host=given, headless=headless, model=None, **({"probe_find_host": True} if finds else {}))
    return SimpleNamespace(host=given, parsed_options=line, user_classes=[SimpleNamespace(host=host) for host in hosts])


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_found(*found: LocalServer) -> None:
        monkeypatch.setattr(host_choice, "find_local_servers", lambda: LocalLook(found))

    set_found(FOUND)
    return set_found


def test_a_server_that_is_found_is_the_host_of_the_run_and_of_locust(
    look: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROBE_API_KEY", raising=False)
    chosen = environment(None)
    line = choose_host(chosen)
    assert chosen.host == chosen.parsed_options.host == FOUND.url
    assert line is not None
    assert "vLLM 0.32.0 at http://127.0.0.1:8000 (model tiny)" in line
    assert "PROBE_API_KEY" not in line


def test_the_line_names_the_model_that_was_asked_for(look: Callable[..., None]) -> None:
    asked = environment(None)
    asked.parsed_options.model = "large"
    assert "(model large)" in (choose_host(asked) or "")


def test_it_is_said_that_a_server_that_was_found_gets_the_key(
    look: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_API_KEY", "secret")
    line = choose_host(environment(None))
    assert (line or "").endswith("Its requests carry the key in PROBE_API_KEY")


@pytest.mark.parametrize(
    "named",
    [environment(given="http://x"), environment("http://x", "http://x", None), environment(finds=False)],
    ids=["--host", "locustfile", "plain Locust"],
)
def test_a_host_that_is_named_is_kept(named: Any, look: Callable[..., None]) -> None:
    assert choose_host(named) is None
    assert named.host == (None if not hasattr(named.parsed_options, "probe_find_host") else "http://x")


def test_without_a_server_a_headless_run_is_refused_and_a_web_ui_starts(look: Callable[..., None]) -> None:
    look()
    with pytest.raises(SettingsError, match=r"^--host: missing, and no LLM server was found"):
        choose_host(environment(None))
    web = environment(None, headless=False)
    line = choose_host(web)
    assert web.host is None
    assert (line or "").startswith("no LLM server was found on this machine")
