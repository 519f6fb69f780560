"""What holds for all tests: this machine's own settings and calibration are not theirs; slow input is no failure."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# A machine is slow at times: no invented input is a failure for having come slowly.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

for name in [name for name in os.environ if name.startswith(("PROBE_", "LOCUST_")) and name != "PROBE_FAULTS_FILE"]:
    del os.environ[name]


@pytest.fixture(autouse=True, scope="session")
def no_calibration_of_this_machine() -> Iterator[None]:
    """A calibration that somebody keeps here would put a warning before every run that the tests start."""
    cache = tempfile.mkdtemp(prefix="probe-tests-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", cache)
        yield
    shutil.rmtree(cache, ignore_errors=True)


SLOW_FIRST = (
    "tests/e2e/",
    "tests/test_locustfiles.py",
    "tests/test_",
    "tests/seeds/",
    "tests/report/test_report_command",
)
"""files of which each waits for processes for a minute or more: begun last, one worker would end alone with them"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest."""

    def place(item: pytest.Item) -> int:
        return next((n for n, name in enumerate(SLOW_FIRST) if item.nodeid.startswith(name)), len(SLOW_FIRST))

    items.sort(key=place)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Run thousands of cases without coverage, which makes them about three times as slow.

    Cheaper tests run nearly all of the same lines. Not by pytest-cov's `no_cover`: with pytest-xdist it goes on.
    """
    tracer = sys.gettrace()
    if item.get_closest_marker("untraced") or getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
        sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)
