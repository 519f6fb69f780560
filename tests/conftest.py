"""What holds for all tests: this machine's own settings and calibration are not theirs; slow input is no failure."""

import os
import shutil
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
