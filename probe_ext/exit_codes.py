"""The exit codes of every `probe` command. What each means to a user: docs/ci.md."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Members are plain integers, so they can be passed to `sys.exit` and compared with an exit status."""

    OK = 0
    GATE = 1
    """a gate was missed or could not be proven"""
    USAGE = 2
    """wrong usage or input"""
    INVALID = 3
    """the result is invalid or incomplete, or an internal error occurred"""
    INTERRUPTED = 130
