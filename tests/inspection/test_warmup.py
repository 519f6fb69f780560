"""`probe warmup`: when a step is settled, what it costs, how it ends."""

import random
import re
import socket
from pathlib import Path

import gevent
import pytest

from probe_ext import cli
from probe_ext.access.known_server import KnownServer, target_and_key
from probe_ext.inspection.warmup import warming
from probe_ext.inspection.warmup.arrival import wait_for
from probe_ext.inspection.warmup.settling import MAX_ROUNDS, MIN_ROUNDS, is_settled
from probe_ext.inspection.warmup.warming import WarmUp, WarmUpStep
from probe_ext.inspection.warmup.warmup_command import sentence
from probe_ext.sim.faults import parse_fault
from tests.in_process_sim import running_sim


@pytest.mark.parametrize(
    ("times", "settled"),
    [
        ([], False),
        ([0.2, 0.2], False),
        ([0.2, 0.2, 0.2], True),
        ([89.0, 0.22, 0.219], False),  # the second round has just become much faster
        ([89.0, 0.22, 0.219, 0.221], True),
        ([8.0, 4.0, 2.0, 1.0], False),
        ([8.0, 4.0, 2.0, 1.0, 0.98, 1.01], True),
        ([0.2, 0.2, 5.0], False),  # the last round was disturbed
        ([0.2, 0.2, 5.0, 0.21], True),
        ([0.004, 0.002, 0.001], True),  # differences below 50 ms are noise
        ([89.0, 88.0, 0.2], False),
    ],
)
def test_settled_when_first_tokens_stop_falling(times: list[float], settled: bool) -> None:
    assert is_settled(times) is settled


def rounds_until_settled(time_of: "list[float]") -> int | None:
    return next((n for n in range(1, len(time_of) + 1) if is_settled(time_of[:n])), None)


@pytest.mark.parametrize("spread", [0.05, 0.2, 0.5])
def test_noise_neither_keeps_a_warm_server_cold_nor_ends_a_cold_one(spread: float) -> None:
    """Log-normal noise around one second, after two rounds that compile for 30 s."""
    warm_rounds, ended_cold = [], 0
    for seed in range(300):
        noise = random.Random(seed)
        warm = [noise.lognormvariate(0.0, spread) for _ in range(MAX_ROUNDS)]
        warm_rounds.append(rounds_until_settled(warm))
        cold = [30 + noise.lognormvariate(0.0, spread), 15 + noise.lognormvariate(0.0, spread), *warm]
        ended_cold += (rounds_until_settled(cold) or MAX_ROUNDS) < 2 + MIN_ROUNDS - 1
    assert sum(rounds is None for rounds in warm_rounds) <= 0.02 * len(warm_rounds)
    assert ended_cold == 0


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["warmup", *arguments])
    captured = capsys.readouterr()
    return int(code), captured.out, captured.err


def test_a_cold_server_becomes_warm(capsys: pytest.CaptureFixture[str]) -> None:
    with running_sim("cold-start", speed=0.5) as sim:
        code, out, _ = run(capsys, sim.url, "--users", "2", "--max-tokens", "4")
        again = run(capsys, sim.url, "--users", "2", "--max-tokens", "4")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert [line[0] for line in lines[1:3]] == ["1", "2"]
    assert [line[-1] for line in lines[1:3]] == ["warm", "warm"]
    assert "times less" in out
    assert again[0] == 0
    assert "little longer in the first round" in again[1]


def test_not_warm_within_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    with running_sim("cold-start", speed=0.1) as sim:
        code, out, _ = run(capsys, sim.url, "--users", "4", "--within", "7s", "--max-tokens", "2")
    assert code == 1
    assert "Not warm after" in out


def test_prompts_have_the_scenarios_length(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    with running_sim(speed=20.0, truth=str(truth)) as sim:
        code, _, _ = run(capsys, sim.url, "--users", "1", "--scenario", "cold_user")
    lengths = [int(n) for n in re.findall(r'"prompt_tokens":(\d+)', truth.read_text())]
    assert code == 0
    assert len(lengths) >= MIN_ROUNDS  # more where a busy machine delays one
    assert all(300 < length < 800 for length in lengths)  # 500, by an estimate from the characters


def test_a_server_that_is_not_up(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        code, _, err = run(capsys, url, "--wait", "1s")
    assert code == 3
    assert re.search(rf"probe: {url}: connection refused after \d+ s", err)


def test_a_wait_that_was_not_waited_is_not_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "the port speaks TLS: try https://127.0.0.1:9"
    target = target_and_key("http://127.0.0.1:9")[0]
    server = KnownServer(target, ({"models_error": why, "kind": "unknown"},), None, ())
    monkeypatch.setattr("probe_ext.inspection.warmup.warmup_command.know_server", lambda *_: server)
    code, _, err = run(capsys, target.url, "--wait", "10m")
    assert (code, err) == (3, f"probe: {target.url}: {why}\n")


def test_waits_for_a_server_that_starts_later(capsys: pytest.CaptureFixture[str]) -> None:
    """The server answers 503 at first, as one whose model is still loading."""
    with running_sim(speed=20.0) as sim:
        assert sim.server is not None and sim.loop is not None  # noqa: PT018
        backend = sim.server._backend
        sim.loop.call_soon_threadsafe(backend.restart, parse_fault("restart:0/2"))
        gevent.sleep(0.2)
        assert run(capsys, sim.url, "--users", "1")[0] == 3
        assert run(capsys, sim.url, "--users", "1", "--wait", "60s")[0] == 0


@pytest.mark.parametrize("why", ["the port speaks TLS: try https://server", "TLS: unknown authority", "401 no key"])
def test_waiting_ends_where_it_is_in_vain(why: str) -> None:
    target = target_and_key("http://server:8000")[0]
    server = KnownServer(target, ({"models_error": why, "kind": "unknown"},), None, ())
    assert wait_for(lambda: server, 600.0, lambda _: None, lambda _: pytest.fail("waited")) is server


def test_a_server_that_answers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with running_sim(faults=(parse_fault("503"),)) as sim:
        code, out, _ = run(capsys, sim.url)
    assert code == 3
    assert "The server answered nothing: HTTP 503" in out


@pytest.mark.parametrize("arguments", [["--users", "0"], ["--wait", "soon"], ["--within", "x"], ["--max-tokens", "0"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "http://127.0.0.1:1", *arguments)
    assert code == 2
    assert f"probe: {arguments[0]} {arguments[1]}: " in err


def test_times_of_replies_that_are_not_streamed_are_not_called_ttft(capsys: pytest.CaptureFixture[str]) -> None:
    with running_sim(speed=20.0, personality="unstreamed") as sim:
        assert cli.main(["warmup", sim.url, "--users", "1", "--max-tokens", "4"]) == 0
    shown = capsys.readouterr().out
    assert "whole reply at first" in shown
    assert "TTFT" not in shown
    assert "first tokens" not in shown


def test_the_sentence_names_the_coldest_step() -> None:
    steps = (WarmUpStep(1, (89.0, 0.22, 0.219, 0.22)), WarmUpStep(2, (3.0, 0.3, 0.3, 0.3)))
    text = sentence(WarmUp(steps, (1, 2), 95.0))
    assert text.startswith("Warm after 95 s: first tokens took 89 s at first and 0.22 s later, ")
    assert "(with 1 request at once)" in text
    assert sentence(WarmUp(steps, (1, 2, 4), 95.0)).startswith("Not warm after 95 s: 4 requests at once did not settle")


def test_a_step_ends_after_a_stated_number_of_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warming, "is_settled", lambda _: False)
    with running_sim(speed=20.0) as sim:
        from look_helpers import subject_on  # noqa: PLC0415

        subject = subject_on(sim.url)
        result = warming.warm(subject.sender, lambda: subject.question(60, 1), 1, 60.0)
    assert len(result.steps[0].first_tokens) == MAX_ROUNDS
