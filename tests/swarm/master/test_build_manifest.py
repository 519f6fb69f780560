"""The facts of `run.json` are gathered without starting a process."""

import os
import platform
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from probe_ext.swarm.master import build_manifest
from probe_ext.verdict.checks.client_accuracy import keep_up_advice
from probe_ext.verdict.evidence.shared_machine import shares_machine


def test_versions_are_found_without_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OpenTelemetry, a child of a fork went on with the run for a moment, and wrote its rows a second time."""
    expected = platform.platform()

    def forbidden(*_: object, **__: object) -> None:
        pytest.fail("a process was started")

    platform.platform.__globals__["_platform_cache"].clear()
    platform.uname.__globals__["_uname_cache"] = None
    for module, name in ((os, "fork"), (subprocess, "Popen"), (subprocess, "check_output")):
        monkeypatch.setattr(module, name, forbidden)
    assert build_manifest._versions()["platform"] == expected


def test_the_displays_know_that_the_load_generator_shares_the_servers_machine() -> None:
    """Otherwise they would name “something else” where the report names the server."""
    run: Any = SimpleNamespace(
        preparation=SimpleNamespace(host="http://127.0.0.1:8000"), workers=SimpleNamespace(known={})
    )
    known = build_manifest.described_so_far(run, 60.0)
    assert shares_machine(known)
    assert "the server, which runs there too," in keep_up_advice({**known, "workers": [{"cpu_seconds": 1.0}]})
