"""Give up a call at a deadline, whatever it waits for.

A socket's timeout limits single reads, so a server that drips its headers could hold a call for hours, and name
resolution has no timeout at all. So the call runs in a thread of its own (a greenlet under gevent).
"""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Late(Exception):  # noqa: N818 - not an error of the call
    """The call had not returned in time; `thread` still runs it."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__("timed out")
        self.thread = thread


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what the call returns, or raise what it raises. Late once the time is over."""
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failures:
        raise failures[0]
    if not results:
        raise Late(thread)
    return results[0]
