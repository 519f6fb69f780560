"""Which code runs under coverage's tracer: it makes Python about three times slower, so only where it may find a line.

Importing and running tests takes half of a test run's CPU time without this. Traced are the modules of the package
while they are imported, fixtures, and tests; not pytest's own work, other packages' modules, what `untraced` says, and
the tests of untraced.txt, which reach nothing that others do not.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TRACED_CPU_S = 0.7
"""of a parametrised test; further cases of a costly one take much the same way through the code"""
PACKAGE = "probe_ext"
LISTED = frozenset(
    line for line in Path(__file__).with_name("untraced.txt").read_text().splitlines() if not line.startswith("#")
)


@contextmanager
def tracing(tracer: Any) -> Iterator[None]:
    """Set the tracer of this thread for a while."""
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)


def untraced(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a helper of tests without the tracer, where it is costly and what it calls is traced in other tests."""

    @wraps(function)
    def run(*arguments: Any, **named: Any) -> Any:
        before = sys.gettrace()
        sys.settrace(None)
        try:
            return function(*arguments, **named)
        finally:
            sys.settrace(before)

    return run


class TracedImports:
    """A finder that has modules of the package, and no others, run under the tracer."""

    def __init__(self, tracer: Any) -> None:
        self.tracer = tracer

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Ask the other finders."""
        specs = (other.find_spec(name, path, target) for other in sys.meta_path if other is not self)
        spec = next((spec for spec in specs if spec), None)
        if spec and type(spec.loader) is SourceFileLoader:
            tracer, run = self.tracer if name.partition(".")[0] == PACKAGE else None, spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                # Off and on again in one frame: the tracer, which counts calls and returns, must see both or neither.
                before = sys.gettrace()
                sys.settrace(tracer)
                try:
                    run(module)
                finally:
                    sys.settrace(before)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class Tracing:
    """Hooks that switch the tracer on for what may reach new lines."""

    def __init__(self) -> None:
        self.tracer: Any = None
        self.spent = Counter[str]()
        """CPU seconds of traced cases by test"""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Iterator[None]:
        """Switch it off for the rest of the session; one process sees the imports, and they are the same in all."""
        self.tracer = sys.gettrace()
        sys.settrace(None)
        if self.tracer and getattr(session.config, "workerinput", {"workerid": "gw0"})["workerid"] == "gw0":
            finder = TracedImports(self.tracer)
            sys.meta_path.insert(0, finder)
            try:
                return (yield)
            finally:
                sys.meta_path.remove(finder)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Iterator[object]:
        """Trace a test, unless it is marked or draws thousands of cases, or its cases have taken their time."""
        name = pyfuncitem.nodeid.partition("[")[0]
        untraced = pyfuncitem.get_closest_marker("untraced") or getattr(pyfuncitem.obj, "is_hypothesis_test", False)
        if untraced or name in LISTED or self.spent[name] > TRACED_CPU_S:
            with tracing(None):
                return (yield)
        before = time.process_time()
        try:
            with tracing(self.tracer):
                return (yield)
        finally:
            self.spent[name] += time.process_time() - before

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self) -> Iterator[object]:
        """Trace a fixture."""
        with tracing(self.tracer):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self) -> Iterator[None]:
        """Trace the ends of fixtures."""
        with tracing(self.tracer):
            return (yield)
