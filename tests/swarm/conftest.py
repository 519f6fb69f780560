"""Load Locust without its monkey patching: other tests run in the same process."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

_SKIP = "LOCUST_SKIP_MONKEY_PATCH"
os.environ[_SKIP] = "1"
import locust  # noqa: E402, F401 - must be the first

del os.environ[_SKIP]  # child processes of other tests need the patching

from swarm_fakes import World  # noqa: E402

from probe_ext.measure import clock  # noqa: E402


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    """A world whose clock all processes use, and in which nothing runs by itself."""
    monkeypatch.chdir(tmp_path)  # workers write their backups below the working directory
    made = World()
    monkeypatch.setattr(clock, "monotonic", made.shown)
    monkeypatch.setattr("gevent.sleep", made.sleep)
    monkeypatch.setattr("gevent.spawn", made.spawn)
    yield made
    assert made.now >= 0
