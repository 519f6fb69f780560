"""Set up every test: ignore this machine's own settings and calibration, and distribute the tests over processes."""

import fcntl
import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from xdist.scheduler import LoadScopeScheduling

from tests.e2e import loaded
from tests.remembering import Remembering
from tests.tracing import Tracing

# A slow machine must not fail a test, so there is no deadline. The examples of "ci" are the same in every run, so a
# change is not blamed for what only a new example shows; "nightly" (--hypothesis-profile=nightly) searches for those.
ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("ci", ANY_MACHINE, max_examples=50, derandomize=True, database=None)
settings.register_profile("nightly", ANY_MACHINE, max_examples=1000)
settings.load_profile("ci")


def _keep_to_drawn_values() -> None:
    """Let hypothesis not mix constants of the code into what it draws: each process would parse all modules for them.

    The profile nightly has them.
    """
    providers._get_local_constants = lambda: providers._local_constants


_KEPT_VARIABLES = {"PROBE_FAULTS_FILE", "PROBE_NATIVE"}
"""of the tests themselves: `make test-native` runs the client's on both reading paths"""
for name in [name for name in os.environ if name.startswith(("PROBE_", "LOCUST_")) and name not in _KEPT_VARIABLES]:
    del os.environ[name]
# To read the public certificate authorities takes 50 ms of CPU time, and clients and libraries do it hundreds of times.
os.environ |= {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
os.environ.pop("REQUESTS_CA_BUNDLE", None)


@pytest.fixture(autouse=True, scope="session")
def empty_cache_directory() -> Iterator[None]:
    """Hide a calibration kept on this machine: it would add a warning to every run that the tests start."""
    cache = tempfile.mkdtemp(prefix="probe-tests-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", cache)
        yield
    shutil.rmtree(cache, ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    """Trace only what coverage needs, estimate the same only once, and draw examples without parsing the code."""
    if config.getoption("hypothesis_profile") != "nightly":
        _keep_to_drawn_values()
    config.pluginmanager.register(Tracing())
    config.pluginmanager.register(Remembering())
    if "PYTEST_XDIST_WORKER" not in os.environ:
        loaded.share()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Send xdist's controller only what it shows of a test: all messages together take a millisecond of CPU time."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    return True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Iterator[object]:
    """Let the garbage collector neither run during collection nor look through what that leaves for all tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


BuildOnce = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def build_once(tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """Return a function that builds a named directory once for all pytest-xdist workers; treat it as read-only."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def build(name: str, make: Callable[[Path], None]) -> Path:
        place = shared / f"once-{name}"
        with (shared / f"once-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.exists():
                place.mkdir()
                try:
                    make(place)
                except BaseException:
                    shutil.rmtree(place)
                    raise
        return place

    return build


# Nodes that start with these mostly wait for processes; those that take longest come first.
WAITING = (
    "tests/e2e/test_several_hosts",
    "tests/e2e/test_swarm",
    "tests/test_packaging",
    "tests/e2e/test_demo",
    "tests/report/test_report_command",
    "tests/e2e/",
    "tests/test_locustfiles",
    "tests/seeds/",
    "tests/swarm/commands/test_calibrate",
    "tests/swarm/preparation/test_warm_up",
    "tests/test_",
)
WAITING_START = 0.85
"""share of all tests after which no more of these begin: one that waits at the end leaves the cores idle"""
# Tests of these files mostly wait for processes and share no costly module fixture: each may run in any worker.
INDEPENDENT = (
    "tests/e2e/test_bad_input",
    "tests/e2e/test_endings",
    "tests/e2e/test_searching",
    "tests/e2e/test_swarm",
    "tests/test_locustfiles",
)


def scope(nodeid: str) -> str:
    """Return what one worker runs as a whole: a file, or a test of an independent one."""
    return nodeid if nodeid.startswith(INDEPENDENT) else nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the tests that wait evenly among those that compute, so that the cores are busy from start to end."""

    def rank(name: str) -> int:
        return next((n for n, beginning in enumerate(WAITING) if name.startswith(beginning)), len(WAITING))

    scopes = dict.fromkeys(scope(item.nodeid) for item in items)
    waiting = sorted((name for name in scopes if rank(name) < len(WAITING)), key=rank)
    computing = [name for name in scopes if rank(name) == len(WAITING)]
    place = {name: WAITING_START * n / len(waiting) for n, name in enumerate(waiting)}
    place |= {name: (n + 0.5) / len(computing) for n, name in enumerate(computing)}
    items.sort(key=lambda item: place[scope(item.nodeid)])


class FileScheduling(LoadScopeScheduling):
    """Keep the tests of a file in one worker, except those of INDEPENDENT files."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FileScheduling | None:
    """Replace `--dist loadfile`; other modes stay as they are."""
    return FileScheduling(config, log) if config.getoption("dist") == "loadfile" else None
