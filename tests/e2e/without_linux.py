"""Run `probe` as where nothing of Linux is there: its attributes removed, /proc hidden, another platform's name.

    python tests/e2e/without_linux.py run capacity …

It stands in for macOS, on which the tests of this package do not run everywhere.
"""

import os
import select
import signal
import socket
import sys

LINUX_ONLY = {
    select: ("epoll", "EPOLLIN", "EPOLLOUT", "EPOLLERR"),
    os: (
        *("eventfd", "memfd_create", "pidfd_open", "posix_fallocate", "posix_fadvise", "splice", "copy_file_range"),
        *("sched_getaffinity", "sched_setaffinity"),
    ),
    signal: ("pidfd_send_signal", "sigtimedwait", "sigwaitinfo", "SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGSTKFLT"),
    socket: ("TCP_INFO", "TCP_KEEPIDLE", "TCP_QUICKACK", "SO_PASSCRED", "SO_PEERCRED", "MSG_NOSIGNAL", "SOCK_CLOEXEC"),
}


def hide(event: str, arguments: tuple[object, ...]) -> None:
    """Raise for what would read /proc or /sys, except by psutil, which has its own way on each platform."""
    if event in {"open", "os.listdir", "os.scandir"} and str(arguments[0]).startswith(("/proc/", "/sys/")):
        frame = sys._getframe()
        while frame := frame.f_back:  # type: ignore[assignment]
            if str(frame.f_globals.get("__name__")).startswith("psutil"):
                return
        raise FileNotFoundError(2, "No such file or directory", str(arguments[0]))


def main() -> int:
    """Remove, pretend, run."""
    for module, names in LINUX_ONLY.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
            if name in getattr(module, "__all__", ()):
                module.__all__.remove(name)
    # Other packages look at the platform when they are imported, which is not what is tried here.
    import locust.main  # noqa: F401, PLC0415
    import numpy as np  # noqa: F401, PLC0415
    import pydantic.fields  # noqa: F401, PLC0415

    sys.addaudithook(hide)
    sys.platform = "darwin"
    from probe_ext.cli import main as probe  # noqa: PLC0415 - as above

    return probe(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
