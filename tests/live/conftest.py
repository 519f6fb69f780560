"""Load Locust without its monkey patching: other tests run in the same process."""

import os
import sys
from collections.abc import Iterator

_SKIP = "LOCUST_SKIP_MONKEY_PATCH"
os.environ[_SKIP] = "1"
import locust  # noqa: E402, F401 - must be the first

del os.environ[_SKIP]  # child processes of other tests need the patching

import pytest  # noqa: E402 - as above


@pytest.fixture(autouse=True, scope="module")
def no_arguments() -> Iterator[None]:
    """Locust reads the form's fields from the command line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["locust"])
        yield
