"""Master and worker find out before any load whether the worker lacks a secret, and each says which."""

import json
from typing import Any

import pytest

from probe_ext import __version__
from probe_ext.swarm.link import message_shapes, messages
from probe_ext.swarm.link.compatibility import Side, refusal
from probe_ext.swarm.worker.file_comparison import FileComparison
from probe_ext.swarm.worker.session import WorkerSession


def test_a_worker_without_a_variable_is_refused_by_name() -> None:
    why = refusal(Side("1", True), Side("1", True, ("GATEWAY_KEY", "OTHER")))
    assert why is not None
    for sentence in why:
        assert "GATEWAY_KEY and OTHER are not set" in sentence
        assert "--header-env" in sentence
    assert refusal(Side("1", True), Side("1", True)) is None


def test_only_names_of_variables_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_KEY", "s3cr3t")
    ping = messages.ping(["X-Key=GATEWAY_KEY"])
    assert ping["variables"] == ["GATEWAY_KEY"]
    pong = messages.pong(1.0, ("GATEWAY_KEY",))
    assert "s3cr3t" not in json.dumps([ping, pong])
    assert message_shapes.FROM_MASTER[messages.PING](ping)
    assert message_shapes.FROM_WORKERS[messages.PONG](pong)
    assert not message_shapes.FROM_WORKERS[messages.PONG]({**pong, "missing": ["x" * 1000]})


@pytest.mark.parametrize("is_set", [True, False])
def test_a_worker_looks_into_its_own_environment(monkeypatch: pytest.MonkeyPatch, is_set: bool) -> None:
    if is_set:
        monkeypatch.setenv("GATEWAY_KEY", "s3cr3t")
    sent: list[dict[str, Any]] = []
    said: list[str] = []
    session: Any = WorkerSession.__new__(WorkerSession)
    session._refused = session._joined = session._announces = False
    session._files = FileComparison(lambda *_: None, lambda: None)
    session._runner = type("Runner", (), {"send_message": lambda _, __, data: sent.append(data), "quit": None})()
    session._runner.environment = type("Environment", (), {"process_exit_code": 0})()
    monkeypatch.setattr("probe_ext.swarm.worker.session.print_line", said.append)
    monkeypatch.setattr("gevent.spawn", lambda *_: None)
    data = {"t": 1.0, "version": __version__, "key": False, "variables": ["GATEWAY_KEY"]}
    session._on_ping(type("Message", (), {"data": data})())
    assert sent[0]["missing"] == ([] if is_set else ["GATEWAY_KEY"])
    assert session._refused is not is_set
    assert any("GATEWAY_KEY is not set" in line for line in said) is not is_set
