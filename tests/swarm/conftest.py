"""Locust is loaded here without its patching of the whole process: other tests share this one."""

import os
from collections.abc import Iterator

import pytest

_SKIP = "LOCUST_SKIP_MONKEY_PATCH"
os.environ[_SKIP] = "1"
import locust  # noqa: E402, F401 - must be the first

del os.environ[_SKIP]  # processes that other tests start are to be patched

from swarm_fakes import World  # noqa: E402

from probe_ext.measure import clock  # noqa: E402


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world whose clock is everybody's, and in which nothing runs by itself."""
    made = World()
    monkeypatch.setattr(clock, "monotonic", made.shown)
    monkeypatch.setattr("gevent.sleep", made.sleep)
    monkeypatch.setattr("gevent.spawn", made.spawn)
    yield made
    assert made.now >= 0
