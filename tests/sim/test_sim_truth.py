"""The truth log agrees with what a client receives, and with the engine's schedule."""

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError
from aiohttp.test_utils import TestClient
from sim_helpers import chat, event_texts, series, serve, stream, tiny

from probe_ext.sim.personality import parse_personality


def lines(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    head, *rest = [json.loads(line) for line in path.read_text().splitlines()]
    assert head["kind"] == "server"
    return head, [line for line in rest if line["kind"] == "reply"]


def test_the_log_has_every_token_of_every_reply(tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int]] = {}

    async def scenario(client: TestClient) -> None:
        received = await asyncio.gather(*(stream(client, chat(f"asker {n}", max_tokens=5 + n)) for n in range(12)))
        for each in received:
            seen[each[0]["id"]] = (len(event_texts(each)), each[-2]["usage"]["prompt_tokens"])

    serve(scenario, profile=tiny(400, max_num_seqs=4), truth=str(tmp_path / "truth.jsonl"))
    head, replies = lines(tmp_path / "truth.jsonl")
    assert {line["id"]: (line["reply_tokens"], line["prompt_tokens"]) for line in replies} == seen
    assert head["profile"]["max_num_seqs"] == 4
    for line in replies:
        assert len(line["due"]) == len(line["sent"]) == line["reply_tokens"]
        assert line["due"] == sorted(line["due"])
        assert line["sent"] == sorted(line["sent"])
        # Writes are centred on the end of a step, so a token may be sent early, but by less than the step takes.
        assert all(sent > before for before, sent in zip(line["due"], line["sent"][1:], strict=False))
        assert line["arrival"] <= line["queued"] <= line["scheduled"] < line["due"][0]
        assert line["finish"] == "length"


def test_no_token_is_received_before_its_logged_send_time(tmp_path: Path) -> None:
    times: list[float] = []

    async def scenario(client: TestClient) -> None:
        response = await client.post("/v1/chat/completions", json=chat(max_tokens=20))
        async for _ in response.content.iter_any():
            times.append(asyncio.get_running_loop().time())

    serve(scenario, truth=str(tmp_path / "truth.jsonl"), speed=0.5)
    (line,) = lines(tmp_path / "truth.jsonl")[1]
    assert line["arrival"] < line["sent"][0] <= times[0]
    assert line["sent"][-1] <= times[-1]


def test_preemptions_are_logged(tmp_path: Path) -> None:
    async def scenario(client: TestClient) -> None:
        await asyncio.gather(*(stream(client, chat(f"number {n} asks", max_tokens=40)) for n in range(20)))

    path = tmp_path / "truth.jsonl"
    serve(
        scenario, profile=tiny(100, max_num_seqs=64), speed=2.0, truth=str(path)
    )  # slow enough that all arrive together on any machine
    preempted = [line for line in lines(path)[1] if line["preempted"]]
    assert preempted
    for line in preempted:
        for moment in line["preempted"]:
            assert line["scheduled"] < moment < line["due"][-1]
            before = [due for due in line["due"] if due <= moment + 1e-9]
            after = [due for due in line["due"] if due > moment + 1e-9]
            assert len(before) + len(after) == 40  # no token is repeated or lost


@pytest.mark.parametrize(("fault", "finish", "sent"), [("cut@3", "cut", 3), ("error@4", "error", 4)])
def test_faults_are_logged(tmp_path: Path, fault: str, finish: str, sent: int) -> None:
    async def scenario(client: TestClient) -> None:
        response = await client.post("/v1/chat/completions", json=chat(probe_fault=fault))
        with contextlib.suppress(ClientError):
            await response.read()

    path = tmp_path / "truth.jsonl"
    serve(scenario, truth=str(path))
    (line,) = lines(path)[1]
    assert (line["finish"], line["fault"], len(line["sent"])) == (finish, finish, sent)


def test_the_tokens_of_a_stall_are_logged_when_they_are_sent(tmp_path: Path) -> None:
    async def scenario(client: TestClient) -> None:
        await stream(client, chat(probe_fault="stall@3/0.5", max_tokens=8))

    path = tmp_path / "truth.jsonl"
    serve(scenario, truth=str(path))
    (line,) = lines(path)[1]
    assert len(line["sent"]) == 8
    assert line["sent"][3] - line["sent"][2] >= 0.45
    assert len(set(line["sent"][3:])) == 1


def test_a_disconnect_is_logged(tmp_path: Path) -> None:
    async def scenario(client: TestClient) -> None:
        response = await client.post("/v1/chat/completions", json=chat(max_tokens=1500))
        await response.content.readany()
        response.close()
        await asyncio.sleep(0.3)

    path = tmp_path / "truth.jsonl"
    serve(scenario, truth=str(path), speed=1.0)
    (line,) = lines(path)[1]
    assert line["finish"] == "aborted"
    assert 0 < len(line["sent"]) < 1500


def test_tokens_of_one_event_have_the_same_send_time(tmp_path: Path) -> None:
    async def scenario(client: TestClient) -> None:
        await stream(client, chat(max_tokens=9))

    path = tmp_path / "truth.jsonl"
    serve(scenario, truth=str(path), personality=parse_personality("chunky"))
    (line,) = lines(path)[1]
    assert len(line["sent"]) == 9
    assert [line["sent"].count(moment) for moment in sorted(set(line["sent"]))] == [1, 4, 4]


def test_a_blocked_event_loop_is_warned_about_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(client: TestClient) -> None:
        task = asyncio.create_task(stream(client, chat(max_tokens=40)))
        await asyncio.sleep(0.1)
        time.sleep(0.15)  # blocks the event loop, which the server shares
        await task
        assert (await series(client))["probe_sim_lateness_max_seconds"] > 0.05

    serve(scenario, speed=0.5)
    assert capsys.readouterr().err.count("simulator behind schedule") == 1
