"""Locust is loaded here without its patching of the whole process: other tests share this one."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

_SKIP = "LOCUST_SKIP_MONKEY_PATCH"
os.environ[_SKIP] = "1"
import locust  # noqa: E402, F401 - must be the first

del os.environ[_SKIP]  # processes that other tests start are to be patched

import pytest  # noqa: E402 - as above

sys.path.append(str(Path(__file__).resolve().parents[1] / "verdict"))  # its invented rows serve here, too


@pytest.fixture(autouse=True, scope="module")
def no_arguments() -> Iterator[None]:
    """Locust's page asks the command line for the form's fields."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["locust"])
        yield
