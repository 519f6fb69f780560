"""Runs against servers that refuse something: negotiated, ended before the run, or spoilt later; in real processes."""

import csv
import json
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import loaded
from tests.e2e.conftest import BIN, locust

BRIEF = ("--levels", "2", "--hold", "1s", "--settle", "0s", "--min-replies", "1", "--warm-up", "off", "--drain", "0s")
SECRET = "s3cr3t-of-the-gateway"


class Gateway(ThreadingHTTPServer):
    """Serves a short chat stream, unless `refusal` returns a status and a message for a request."""

    request_queue_size = 64
    daemon_threads = True

    def __init__(self, refusal: Callable[[dict[str, Any]], tuple[int, str] | None]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refusal = refusal
        self.accepted: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Gateway

    def log_message(self, *_: object) -> None:
        """Be silent."""

    def do_GET(self) -> None:
        """List a model, and nothing else."""
        listed = self.path == "/v1/models"
        self._send(200 if listed else 404, json.dumps({"data": [{"id": "bge-m3"}, {"id": "m"}]} if listed else {}))

    def do_POST(self) -> None:
        """Answer a chat."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.startswith("/v1/chat") or not body["stream"]:
            self._send(404, "{}")
            return
        self.server.headers.append(dict(self.headers))
        refused = self.server.refusal(body)
        if refused:
            self._send(refused[0], json.dumps({"error": {"message": refused[1]}}))
            return
        self.server.accepted.append({name: value for name, value in body.items() if name != "messages"})
        events = [{"index": 0, "delta": {"content": "word "}}] * 3 + [
            {"index": 0, "delta": {}, "finish_reason": "stop"}
        ]
        data = "".join(f"data: {json.dumps({'choices': [event]})}\n\n" for event in events)
        self._send(200, f"{data}data: [DONE]\n\n", "text/event-stream")

    def _send(self, status: int, text: str, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@contextmanager
def gateway(refusal: Callable[[dict[str, Any]], tuple[int, str] | None]) -> Iterator[Gateway]:
    made = Gateway(refusal)
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()


def run(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    known = {name: value for name, value in os.environ.items() if not name.endswith("_KEY")}
    return loaded.ask([str(argument) for argument in arguments], {**known, **environment})


def strict(body: dict[str, Any]) -> tuple[int, str] | None:
    """Refuse what newer models and strict proxies refuse, one after the other."""
    if (body.get("stream_options") or {}).get("continuous_usage_stats"):
        return 400, "Unknown parameter: 'stream_options.continuous_usage_stats'"
    if "max_tokens" in body:
        return 400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    return (422, "ignore_eos: Extra inputs are not permitted") if "ignore_eos" in body else None


def test_two_workers_send_the_form_that_was_agreed_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    refused: Counter[str] = Counter()

    def counting(body: dict[str, Any]) -> tuple[int, str] | None:
        found = strict(body)
        refused.update([found[1]] if found else [])
        return found

    extras = ("--header", "X-Tenant: blue", "--header-env", "X-Key=GATEWAY_SECRET", "--body", '{"top_k": 3}')
    with gateway(counting) as server:
        command = (
            BIN / "probe",
            "run",
            "capacity",
            "--host",
            f"{server.url}/v1/chat/completions",
            "--out",
            out,
            *BRIEF,
        )
        ended = run(*command, "--ignore-eos", "--processes", "2", *extras, GATEWAY_SECRET=SECRET)
    assert ended.returncode == 0, ended.stderr
    assert set(refused.values()) == {1}, "each refusal is found out once"
    with (out / "requests.csv").open(encoding="utf-8", newline="") as table:
        workers = Counter(row["worker"] for row in csv.DictReader(table))
    assert len(workers) == 2
    forms = {json.dumps(body, sort_keys=True) for body in server.accepted}
    assert len(forms) == 1
    form = json.loads(forms.pop())
    assert form == {
        "model": "m", "stream": True, "stream_options": {"include_usage": True}, "max_completion_tokens": 128,
        "top_k": 3,
    }  # fmt: skip
    assert {(sent.get("X-Tenant"), sent.get("X-Key")) for sent in server.headers} == {("blue", SECRET)}
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["request_form"]["used"]["left_out"] == ["ignore_eos"]
    assert ended.stderr.count("The server refuses `max_tokens`") == 1
    assert "request form" in (out / "capacity.html").read_text() or "refuses" in (out / "capacity.html").read_text()
    assert "The server refuses" in (out / "summary.md").read_text()
    written = b"".join(path.read_bytes() for path in out.iterdir() if path.is_file())
    assert SECRET.encode() not in written + ended.stderr.encode() + ended.stdout.encode()


def test_a_server_that_answers_nothing_ends_the_run_with_a_report(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with gateway(lambda _: (400, "tenant is required")) as server:
        command = (
            BIN / "probe",
            "run",
            "capacity",
            "--host",
            server.url,
            "--out",
            out,
            *BRIEF,
            "--fail-under-users",
            1,
        )
        ended = run(*command, "--processes", "1")
    assert ended.returncode == 3, ended.stderr
    assert server.accepted == []
    capacity = json.loads((out / "capacity.json").read_text())
    assert (capacity["verdict"], capacity["served_users"], capacity["levels"]) == ("invalid", None, [])
    assert json.loads((out / "run.json").read_text())["end_reason"] == "no_answer"
    shown = [capacity["sentence"], ended.stdout, ended.stderr]
    shown += [(out / name).read_text() for name in ("summary.md", "junit.xml", "capacity.html")]
    for text in shown:
        assert "tenant is required" in text
        assert "--body" in text.replace("\\", "")
    assert "gate: at least 1 user served: unproven" in ended.stdout


@pytest.mark.long
def test_plain_locust_ends_likewise(tmp_path: Path) -> None:
    with gateway(lambda _: (403, "not for you")) as server:
        ended = run(*locust(server.url, tmp_path / "run", "-u", "2", "-r", "2", "-t", "2s"))
    assert ended.returncode == 3, ended.stderr
    assert "not for you" in ended.stderr
    assert (tmp_path / "run" / "run.json").exists()


def test_a_key_that_is_revoked_during_the_run_spoils_it(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with gateway(lambda _: (403, "key was revoked") if len(server.accepted) > 10 else None) as server:
        ended = run(BIN / "probe", "run", "capacity", "--host", server.url, "--out", out, *BRIEF)
    assert ended.returncode == 3, ended.stderr
    first_line = (out / "summary.md").read_text().splitlines()[0]
    assert "key was revoked" in first_line
    assert "--header-env" in first_line.replace("\\", "")


@pytest.mark.long
def test_a_missing_variable_is_named_before_any_request(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with gateway(lambda _: None) as server:
        command = (BIN / "probe", "run", "capacity", "--host", server.url, "--out", out, *BRIEF)
        ended = run(*command, "--header-env", "X-Key=GATEWAY_SECRET")
    assert ended.returncode == 2
    assert "GATEWAY_SECRET is not set" in ended.stderr
    assert not out.exists()
    assert server.headers == []
