"""Is the server a process of this machine, and what do its own limits and disks allow?

Only Linux shows it, in /proc: the listener of the port, its limit of open files, the file systems that it works on.
"""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from probe_ext.inspection.check_result import CheckResult, Figures, Status
from probe_ext.inspection.machine.disk import free_bytes, size
from probe_ext.loopback import is_loopback
from probe_ext.verdict.phrasing.plurals import listed, things

_LISTENING = "0A"
_OPEN_FILES = re.compile(r"^Max open files\s+(\S+)\s+(\S+)", re.MULTILINE)
_FORWARDERS = {
    "docker-proxy",
    "rootlessport",
    "ssh",
    "sshd",
    "kubectl",
    "socat",
    "haproxy",
    "caddy",
    "envoy",
    "traefik",
}
_OTHER_FILES = 64
_NEARLY_FULL_BYTES = 2 * 10**9
_NEARLY_FULL_SHARE = 0.03
_ELSEWHERE = (
    "It runs on another machine: its open files and disks cannot be seen. There, `ulimit -n` and `df -h` show them: a "
    "limit of 1024 refuses connections, and a full disk stops engines without naming the disk."
)
_OWN_MACHINE = "If you can, run the load generator on another machine: otherwise the report warns of the shared CPU."
_NO_PROC = "The server runs on this machine, which is not Linux: its open files and disks cannot be seen."


@dataclass(frozen=True, slots=True)
class Process:
    """The process that listens on the port."""

    pid: int
    name: str
    soft_limit: int | None
    """of open files; None: unlimited, or not shown"""
    open_now: int
    disks: tuple[tuple[str, int, int], ...]
    """mount point, free bytes, all bytes"""


def server_process(addresses: Iterable[str], port: int, users: int, proc: Path = Path("/proc")) -> CheckResult:
    """Find the server's process if one of its addresses is this machine's loopback, and compare it with a plan."""
    if not any(is_loopback(address) for address in addresses):
        return CheckResult("server_process", Status.UNKNOWN, _ELSEWHERE)
    if not (proc / "net").is_dir():
        return CheckResult("server_process", Status.UNKNOWN, _NO_PROC)
    inodes = _listeners(port, proc)
    if not inodes:
        forwarded = f"No process here listens on port {port}: a tunnel, or a container with a network of its own. "
        return CheckResult("server_process", Status.UNKNOWN, forwarded + "Its open files and disks cannot be seen.")
    process = _process_of(inodes, proc)
    if process is None:
        evidence = (
            f"The process that listens on port {port} belongs to someone else: its limits and disks cannot be seen."
        )
        return CheckResult("server_process", Status.UNKNOWN, evidence, "Run this as the server's user, or as root.")
    if process.name in _FORWARDERS or process.name.startswith("nginx"):
        evidence = (
            f"The port belongs to {process.name}, which passes requests on: the server's own open files and disks "
        )
        return CheckResult("server_process", Status.UNKNOWN, f"{evidence}cannot be seen.")
    return judged(process, users)


def judged(process: Process, users: int) -> CheckResult:
    """Compare the process's limits with a plan."""
    needed = users + process.open_now + _OTHER_FILES
    figures: Figures = {"open_files_limit": process.soft_limit, "open_files_now": process.open_now, "needed": needed}
    limit = "no limit of open files" if process.soft_limit is None else f"at most {process.soft_limit:,} open files"
    here = f"It runs on this machine ({process.name}), with {limit}, {process.open_now:,} in use"
    full = [f"{mount} has {size(free)} free" for mount, free, whole in process.disks if _nearly_full(free, whole)]
    room = [f"{mount} {size(free)}" for mount, free, _ in process.disks]
    if process.soft_limit is not None and process.soft_limit < needed:
        need = "needs" if users == 1 else "need"
        evidence = f"{here}; {things(users, 'user')} {need} about {needed:,}: it will refuse connections."
        advice = "Raise it where the server is started (`ulimit -n 65535`, LimitNOFILE=, or the container's ulimits)."
        return CheckResult("server_process", Status.PROBLEM, evidence, advice, figures)
    if full:
        evidence = f"{here}, but {listed(full)}: engines fail on a full disk without naming it."
        return CheckResult("server_process", Status.WARN, evidence, "Free some disk space.", figures)
    evidence = f"{here}; free disk space: {listed(room)}. Load generator and server share its CPU."
    return CheckResult("server_process", Status.OK, evidence, _OWN_MACHINE, figures)


def _nearly_full(free: int, whole: int) -> bool:
    return free < _NEARLY_FULL_BYTES and free < max(_NEARLY_FULL_SHARE * whole, _NEARLY_FULL_BYTES / 10)


def _listeners(port: int, proc: Path) -> set[int]:
    """Return the inodes of the sockets that listen on a port."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (proc / "net" / table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(int(fields[9]))
    return inodes


def _process_of(inodes: set[int], proc: Path) -> Process | None:
    """Return the process that holds one of these sockets; None if it is not ours to see."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for folder in sorted((entry for entry in proc.iterdir() if entry.name.isdecimal()), key=lambda f: int(f.name)):
        with suppress(OSError):
            descriptors = list((folder / "fd").iterdir())
            if any(_link(descriptor) in wanted for descriptor in descriptors):
                return _described(folder, len(descriptors))
    return None


def _link(descriptor: Path) -> str:
    with suppress(OSError):
        return str(descriptor.readlink())
    return ""


def _described(folder: Path, open_now: int) -> Process:
    limits = _OPEN_FILES.search((folder / "limits").read_text(encoding="ascii", errors="replace"))
    soft = int(limits[1]) if limits and limits[1].isdecimal() else None
    name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
    return Process(int(folder.name), name, soft, open_now, tuple(_disks(folder)))


def _disks(folder: Path) -> Sequence[tuple[str, int, int]]:
    """Return the file systems that the process works on: root, working directory, temporary files, cache."""
    found: dict[int, tuple[str, int, int]] = {}
    root = folder / "root"
    for shown, place in (("/", root), ("its working directory", folder / "cwd"), ("/tmp", root / "tmp")):  # noqa: S108
        with suppress(OSError):
            device, figures = place.stat().st_dev, os.statvfs(place)
            found.setdefault(device, (shown, free_bytes(place), figures.f_blocks * figures.f_frsize))
    return list(found.values())
