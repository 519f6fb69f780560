"""Worker processes that Locust forks with `--processes`."""

from typing import Any

import gevent.os


def keep_exit_statuses() -> None:
    """Let Locust learn at the end of a run how each of its workers ended.

    gevent forgets that after a minute, and Locust then asks again and again for three seconds, with a traceback each
    time: a run that lost a worker would end in megabytes of them. There is one status for each worker.
    """
    module: Any = gevent.os
    if hasattr(module, "_reap_children"):
        module._reap_children = lambda timeout=60: None  # noqa: SLF001 - no public way
