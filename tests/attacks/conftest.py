"""Attacks on real processes: a stranger on the master's port, hostile servers, networks that die.

`make test-attacks` runs these. What needs no processes of its own is tested beside the code, in `make test`.
"""

import pytest


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROBE_SWARM_TOKEN", raising=False)
