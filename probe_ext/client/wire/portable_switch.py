"""Whether sockets are read without what only Linux has (`portability.py` says what that is)."""

import os
import sys

PORTABLE_VARIABLE = "PROBE_PORTABLE"


def is_portable() -> bool:
    """Whether nothing of Linux is used: not on Linux, or as the switch asks."""
    return not sys.platform.startswith("linux") or bool(os.environ.get(PORTABLE_VARIABLE))
