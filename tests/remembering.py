"""Each input of the estimator is estimated once in a process: the tests judge the same few runs thousands of times.

Without this, four of five seconds that tests spend on estimates go into such repetitions. An estimate depends on its
arguments alone, and is frozen; `tests/verdict/inference` calls some functions below it directly.
"""

import pickle
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its results kept by the content of the arguments."""
    known: dict[bytes, Any] = {}

    def recall(*arguments: Any, **named: Any) -> Any:
        key = sha256(pickle.dumps((arguments, sorted(named.items())))).digest()
        if key not in known:
            known[key] = function(*arguments, **named)
        return known[key]

    return recall


class Remembering:
    """A hook that replaces the estimator, which calls itself for groups of users, once tests have imported it."""

    def pytest_collection_finish(self) -> None:
        """Replace it for the whole session."""
        from probe_ext.verdict.inference import estimate  # noqa: PLC0415 - after coverage has begun

        pytest.MonkeyPatch().setattr(estimate, "_estimate", remembered(estimate._estimate))
