"""The parts of `make test-gateways` that need no proxy: the replay of recordings, and the page."""

import sys
from pathlib import Path

import pytest

from scripts.gateways.arms import PROXIES, Arm
from scripts.gateways.measure import Arrival, ask
from scripts.gateways.page import Replayed, outcome_of, page
from scripts.gateways.replay import command, parts
from scripts.processes import StartError, free_port, running

RECORDINGS = Path(__file__).parent / "fixtures" / "recordings"
NAME = "sse_vllm_0.32.0_chat_usage.txt"


def test_a_recording_is_replayed_event_by_event(tmp_path: Path) -> None:
    port = free_port()
    with running(command(port, RECORDINGS), port, tmp_path, "/", 30):
        reply = ask(port, NAME)
        again = ask(port, NAME)
    assert outcome_of(reply) == outcome_of(again)
    assert reply.ok
    assert reply.segments is None or reply.segments >= len(parts(RECORDINGS / NAME)[1])
    assert reply.via == "uvicorn"


def test_what_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(StartError, match="port 1 did not answer within 5 s: no such thing"),
        running([sys.executable, "-c", "print('no such thing')"], 1, tmp_path, "/", 5),
    ):
        pass


@pytest.mark.parametrize("arm", PROXIES, ids=lambda arm: f"{arm.name} {arm.settings}")
def test_configurations_name_both_ports(arm: Arm, tmp_path: Path) -> None:
    if arm.name == "litellm":
        return  # its command installs it
    command = arm.command(tmp_path, 1111, 2222, "m")
    (written,) = tmp_path.iterdir()
    text = written.read_text()
    assert "1111" in text
    assert "2222" in text
    assert str(written) in command


def test_the_page_has_a_row_per_arm() -> None:
    loads = {("nginx 1", "defaults"): Arrival(18, "18 complete", 0.29, 48.0, 12.5, 15, ("held_back",), "")}
    text = page(loads, {("nginx 1", "defaults"): Replayed((), (), 17, 0.2, 12)})
    assert "| nginx 1 | defaults | 18 complete | 290 ms | 48 tokens/s | 12.5 | 15 | `held_back` |" in text
    assert "| nginx 1 | defaults | 17 | none | 200 ms | 12 |" in text
