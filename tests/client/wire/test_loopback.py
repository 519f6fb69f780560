"""Whether an address is of this machine alone: asked of servers, of what listens, and of a run's manifest."""

import pytest

from probe_ext.client.wire.address import parse_target
from probe_ext.loopback import is_loopback


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.8.9.1", "::1", "[::1]", "::1%lo"),
        *("localhost", "LOCALHOST", "gpu.localhost", "localhost.localdomain", "ip6-localhost"),
    ],
)
def test_this_machine_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "*", "0.0.0.0", "::", "10.0.0.7", "fe80::1%eth0", "gpu-box", "localhost.example.org", "notlocalhost"]
)
def test_other_machines_or_all_addresses(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(("url", "is_ours"), [("http://[::1]:8000/v1", True), ("http://gpu-box", False)])
def test_a_target_asks_for_its_host(url: str, is_ours: bool) -> None:
    assert parse_target(url).is_loopback == is_ours
