"""Ports of a master with workers on its own machine."""

import pytest

from probe_ext.swarm.commands.run_command import local_ports


def test_runs_with_processes_use_different_loopback_ports() -> None:
    one, other = local_ports(["--processes", "2"]), local_ports(["--processes=2"])
    assert one[:2] == other[:2] == ["--master-bind-host", "127.0.0.1"]
    assert one[3] == one[5] != other[3] == other[5]


@pytest.mark.parametrize("rest", [[], ["--master"], ["--processes", "2", "--master-bind-port", "5000"]])
def test_keeps_the_users_ports(rest: list[str]) -> None:
    assert local_ports(rest) == []
