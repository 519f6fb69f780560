"""The facts of `run.json` are gathered without starting a process."""

import os
import platform
import subprocess

import pytest

from probe_ext.swarm.master import build_manifest


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
