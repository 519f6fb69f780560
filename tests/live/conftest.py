"""Load Locust without its monkey patching: other tests run in the same process."""

import os
from types import SimpleNamespace

import pytest

_SKIP = "LOCUST_SKIP_MONKEY_PATCH"
os.environ[_SKIP] = "1"
import locust  # noqa: E402, F401 - must be the first

del os.environ[_SKIP]  # child processes of other tests need the patching

from live_ui import no_arguments  # noqa: E402, F401 - as above; a fixture

from probe_ext.live import live_levels  # noqa: E402 - as above


@pytest.fixture(autouse=True)
def estimates_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the CPU time of an estimate, under a tracer above all, from putting the next one off."""
    monkeypatch.setattr(live_levels, "clock", SimpleNamespace(cpu=lambda: 0.0))
