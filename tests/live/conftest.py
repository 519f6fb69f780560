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
    """Keep the seconds that an estimate takes on a busy machine from putting the next one off."""
    monkeypatch.setattr(live_levels, "clock", SimpleNamespace(monotonic=lambda: 0.0))
