"""What is asked of a server before a run: which model, and one line that names the option where nothing can work."""

import json
import socket
import threading
from typing import Any

import pytest

from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import read_options
from probe_ext.swarm.preparation.target_probe import Preparation, prepare
from tests.target.loopback import Loopback, send


def listing(*names: str) -> bytes:
    return json.dumps({"data": [{"id": name} for name in names]}).encode()


def prepared(pages: dict[str, Any], **given: str) -> tuple[Preparation, list[Any]]:
    with Loopback(pages) as server:
        found = prepare(server.url, read_options({"timeout_connect": "20s", **given}))
        return found, server.requests


def problem(page: Any, **given: str) -> str:
    why = prepared({"/v1/models": page}, **given)[0].problem
    assert why is not None
    assert "\n" not in why
    return why


def test_the_first_chat_model_is_taken() -> None:
    found, _ = prepared({"/v1/models": (200, listing("bge-m3", "whisper-1", "qwen"))})
    assert (found.model, found.model_from, found.problem) == ("qwen", "server", None)


def test_a_list_without_a_chat_model_asks_for_one() -> None:
    why = problem((200, listing("bge-m3", "whisper-1")))
    assert "do not look like chat models (bge-m3, whisper-1); name one with --model" in why


@pytest.mark.parametrize("name", ["llama3.2", "openai/anything", "bge-m3"])
def test_a_named_model_is_tried_listed_or_not(name: str) -> None:
    found, _ = prepared({"/v1/models": (200, listing("bge-m3", "llama3.2:latest", "openai/*"))}, model=name)
    assert (found.model, found.problem) == (name, None)
    assert [finding["check"] for finding in found.findings] == ([] if name == "bge-m3" else ["model_listed"])


def test_a_missing_key_names_its_variable() -> None:
    for status in (401, 403):
        page = (status, b'{"error": {"message": "no key, no list"}}')
        assert "PROBE_API_KEY" in problem(page)
        assert "no key, no list" in problem(page)
    assert "PROBE_API_KEY" in problem((401, b""), model="m")


def test_a_key_that_may_not_list_models_may_still_ask_one() -> None:
    assert prepared({"/v1/models": (403, b"{}")}, model="m")[0].problem is None


def test_a_redirect_to_another_host_names_it() -> None:
    elsewhere = lambda handler: send(handler, 302, b"", [("Location", "https://login.example/?next=s3cr3t")])  # noqa: E731
    why = problem(elsewhere)
    assert "https://login.example" in why
    assert "as --host" in why
    assert "s3cr3t" not in why


def test_a_page_is_called_one() -> None:
    assert "an HTML page" in problem((200, b"<!doctype html><title>Sign in</title>"))
    assert "502: HTML page “Bad Gateway”" in problem((502, b"<html><title>Bad Gateway</title></html>"))


def test_a_server_that_never_answers_is_asked_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(listening.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        host = f"http://127.0.0.1:{listening.getsockname()[1]}"
        found = prepare(host, read_options({"timeout_connect": "0.3s", "model": "m"}))
        listening.shutdown(socket.SHUT_RDWR)
        assert len(accepted) == 1, "one time-out is enough"
        assert found.problem is not None
        assert "timed out (--timeout-connect)" in found.problem
        for connection in accepted:
            connection.close()


def test_every_request_before_the_run_carries_the_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_KEY", "s3cr3t")
    pages = {"/v1/models": (200, listing("m"))}
    found, requests = prepared(pages, header="X-Tenant: blue", header_env="X-Key=GATEWAY_KEY", body='{"top_k": 1}')
    assert found.problem is None
    assert len(requests) > 3
    assert {(headers.get("X-Tenant"), headers.get("X-Key")) for _, _, headers in requests} == {("blue", "s3cr3t")}
    monkeypatch.delenv("GATEWAY_KEY")
    with pytest.raises(SettingsError, match="GATEWAY_KEY is not set"):
        prepared(pages, header_env="X-Key=GATEWAY_KEY")
