"""Limits of this machine, and of the server's process on it."""

import os
import resource
import socket
from pathlib import Path

import pytest

from probe_ext.inspection.check_result import Status
from probe_ext.inspection.machine import disk as disks
from probe_ext.inspection.machine.ceiling import ceiling
from probe_ext.inspection.machine.disk import disk, size
from probe_ext.inspection.machine.open_files import open_files
from probe_ext.inspection.machine.server_process import Process, judged, server_process
from probe_ext.inspection.planned_run import planned_run
from probe_ext.settings.options import read_options

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("users", "processes", "limits", "status"),
    [
        (8, 1, (1024, 524288), Status.OK),
        (5000, 1, (1024, 524288), Status.OK),  # Locust raises the soft limit to 10,000
        (5000, 1, (1024, 4096), Status.PROBLEM),
        (5000, 2, (1024, 4096), Status.OK),
        (970, 1, (1024, 1024), Status.PROBLEM),
        (12000, 1, (1024, INFINITE), Status.PROBLEM),
        (12000, 1, (65535, 65535), Status.OK),
        (12000, 1, (INFINITE, INFINITE), Status.OK),
    ],
)
def test_open_files_for_every_user(users: int, processes: int, limits: tuple[int, int], status: Status) -> None:
    finding = open_files(users, processes, limits)
    assert finding.status is status, finding
    assert (finding.advice is None) == (status is Status.OK)


def test_open_files_of_this_process() -> None:
    assert open_files(1).figures["soft_limit"] in (resource.getrlimit(resource.RLIMIT_NOFILE)[0], None)


@pytest.mark.parametrize(("free", "status"), [(10**12, Status.OK), (10**8, Status.WARN), (10**7, Status.PROBLEM)])
def test_disk_against_the_plan(free: int, status: Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "free_bytes", lambda _: free)
    plan = planned_run(read_options({"levels": "1,2,4,8", "hold": "60s"}))
    assert disk(str(tmp_path / "new" / "run"), plan).status is status


def test_a_longer_plan_needs_more_room() -> None:
    brief, long = (planned_run(read_options({"levels": "100", "hold": hold})) for hold in ("60s", "10h"))
    assert (brief.bytes_on_disk < 10**8, long.bytes_on_disk > 10**9) == (True, True)
    assert planned_run(read_options({"search": "true", "max_users": "64"})).users == 64
    assert planned_run(read_options({}), users=20, seconds=600.0).users == 20


def test_sizes() -> None:
    assert [size(n) for n in (5_000, 31_000_000, 4_200_000_000)] == ["5 kB", "31 MB", "4.2 GB"]


def test_ceiling_by_calibration() -> None:
    assert ceiling(8, 1, None).status is Status.UNKNOWN
    calibration = {"open_streams": 500.0, "tokens_per_second": 10_000.0}
    assert ceiling(8, 1, calibration).status is Status.OK
    finding = ceiling(1000, 1, calibration)
    assert (finding.status, "this plan may need 50,000 tokens/s" in finding.evidence) == (Status.WARN, True)


def test_a_server_elsewhere_is_not_seen() -> None:
    finding = server_process(["192.0.2.7"], 8000, 8)
    assert (finding.status, "runs on another machine" in finding.evidence) == (Status.UNKNOWN, True)


def test_finds_the_process_that_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        finding = server_process(["127.0.0.1"], server.getsockname()[1], 8)
    assert finding.status in (Status.OK, Status.WARN)
    assert finding.figures["open_files_limit"] == open_files(1).figures["soft_limit"]
    assert Path("/proc/self/comm").read_text().strip() in finding.evidence


def test_a_port_that_no_process_here_listens_on() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        finding = server_process(["127.0.0.1"], sock.getsockname()[1], 8)
    assert (finding.status, "No process here listens" in finding.evidence) == (Status.UNKNOWN, True)


def test_a_process_of_somebody_else(tmp_path: Path) -> None:
    """Its descriptors cannot be read: only the table of sockets shows that there is a listener."""
    (tmp_path / "net").mkdir()
    line = "   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1"
    (tmp_path / "net" / "tcp").write_text(f"heads\n{line}\n")
    (tmp_path / "77" / "fd").mkdir(parents=True)
    finding = server_process(["127.0.0.1"], 8000, 8, tmp_path)
    assert (finding.status, "belongs to someone else" in finding.evidence) == (Status.UNKNOWN, True)


@pytest.mark.parametrize(
    ("process", "users", "status"),
    [
        (Process(1, "vllm", 1024, 80, (("/", 10**11, 10**12),)), 64, Status.OK),
        (Process(1, "vllm", 1024, 80, (("/", 10**11, 10**12),)), 900, Status.PROBLEM),
        (Process(1, "vllm", None, 80, (("/", 10**11, 10**12),)), 90_000, Status.OK),
        (Process(1, "vllm", 65536, 80, (("/", 10**7, 10**12),)), 64, Status.WARN),
    ],
)
def test_the_limits_of_the_servers_process(process: Process, users: int, status: Status) -> None:
    assert judged(process, users).status is status


def test_loopback_has_two_families() -> None:
    if not socket.has_ipv6 or not os.path.exists("/proc/net/tcp6"):  # noqa: PTH110
        pytest.skip("no IPv6 here")
    try:
        server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 loopback here")
    with server:
        assert server_process(["::1"], server.getsockname()[1], 8).status in (Status.OK, Status.WARN)


def test_where_there_is_no_proc_the_servers_process_is_said_to_be_unseen(tmp_path: Path) -> None:
    result = server_process(["127.0.0.1"], 8000, 8, tmp_path / "proc")
    assert result.status is Status.UNKNOWN
    assert (
        result.evidence
        == "The server runs on this machine, which is not Linux: its open files and disks cannot be seen."
    )
