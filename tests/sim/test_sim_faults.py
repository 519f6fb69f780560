"""Injected faults, as the client sees them."""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import ClientError
from aiohttp.test_utils import TestClient
from sim_helpers import chat, event_texts, events, series, serve, stream

from probe_ext.sim.faults import Fault, FaultError, draw_fault, parse_fault

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("cut", Fault("cut")),
        ("503:0.25", Fault("503", share=0.25)),
        ("stall:0.01@10/30", Fault("stall", 0.01, 10, 30.0)),
        ("error@0", Fault("error", after_tokens=0)),
        ("restart:60/5", Fault("restart", share=60.0, seconds=5.0)),
    ],
)
def test_fault_syntax(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault


@pytest.mark.parametrize("text", ["", "flood", "cut:", "cut:2", "cut@x", "stall/1.2.3", "cut:."])
def test_an_invalid_fault_is_rejected(text: str) -> None:
    with pytest.raises(FaultError, match="fault"):
        parse_fault(text)


def test_a_share_hits_that_fraction_of_requests_and_the_same_ones_for_the_same_seed() -> None:
    faults = [Fault("cut", share=0.1), Fault("stall", share=0.2)]
    drawn = [draw_fault(faults, 7, number) for number in range(5000)]
    assert drawn == [draw_fault(faults, 7, number) for number in range(5000)]
    assert sum(f is faults[0] for f in drawn) == pytest.approx(500, rel=0.2)
    assert sum(f is faults[1] for f in drawn) == pytest.approx(900, rel=0.2)


def test_503() -> None:
    async def scenario(client: TestClient) -> None:
        response = await client.post(CHAT, json=chat(probe_fault="503"))
        assert response.status == 503
        assert (await response.json())["error"]["code"] == 503

    serve(scenario)


def test_an_error_inside_the_stream_is_followed_by_done() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat(probe_fault="error@3"))
        assert len(event_texts(received)) == 3
        assert received[-2]["error"]["code"] == 500
        assert received[-1] == "[DONE]"
        assert (await series(client))["vllm:num_requests_running"] == 0

    serve(scenario)


def test_a_truncated_stream_has_no_finish_reason() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat(probe_fault="truncate@2"))
        assert len(event_texts(received)) == 2
        assert received[-1] == "[DONE]"
        assert all(event["choices"][0]["finish_reason"] is None for event in received[:-1])

    serve(scenario)


@pytest.mark.parametrize("streaming", [True, False])
def test_a_cut_drops_the_connection(streaming: bool) -> None:
    async def scenario(client: TestClient) -> None:
        more = {} if streaming else {"stream_options": None}
        with pytest.raises(ClientError):
            await (await client.post(CHAT, json=chat(probe_fault="cut@2", stream=streaming, **more))).read()

    serve(scenario)


def test_a_stall_is_silence_followed_by_all_buffered_tokens() -> None:
    async def scenario(client: TestClient) -> None:
        loop = asyncio.get_running_loop()
        response = await client.post(CHAT, json=chat(probe_fault="stall@2/0.7", max_tokens=9))
        text, last, longest = b"", loop.time(), 0.0
        async for piece in response.content.iter_any():
            longest, last = max(longest, loop.time() - last), loop.time()
            text += piece
        assert len(event_texts(events(text.decode()))) == 9
        assert longest > 0.4  # 0.7 s minus the time of the nine tokens

    serve(scenario)


def test_a_stall_without_seconds_lasts_until_the_client_disconnects() -> None:
    async def scenario(client: TestClient) -> None:
        response = await client.post(CHAT, json=chat(probe_fault="stall@2"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.read(), 1.0)
        response.close()

    serve(scenario)


def test_faults_apply_to_non_streamed_replies() -> None:
    async def scenario(client: TestClient) -> None:
        response = await client.post(CHAT, json=chat(probe_fault="error", stream=False, stream_options=None))
        assert response.status == 500
        assert "error" in await response.json()

    serve(scenario)


def test_faults_from_the_command_line_apply_to_plain_requests() -> None:
    async def scenario(client: TestClient) -> None:
        statuses = [(await client.post(CHAT, json=chat())).status for _ in range(60)]
        assert 10 < statuses.count(503) < 50
        assert statuses.count(200) + statuses.count(503) == 60

    serve(scenario, faults=(parse_fault("503:0.5"),))


def test_a_restart_fails_open_streams_and_resets_the_counters() -> None:
    async def scenario(client: TestClient) -> None:
        await stream(client, chat())
        before = await series(client)
        response = await client.post(CHAT, json=chat(max_tokens=1500))
        await response.content.readany()
        assert (await client.post(CHAT, json=chat(probe_fault="restart/0.3"))).status == 503
        rest = events((await response.read()).decode())
        assert rest[-1] == "[DONE]"
        assert "error" in rest[-2]
        while (await client.get("/health")).status == 503:
            await asyncio.sleep(0.05)
        after = await series(client)
        assert after["vllm:generation_tokens_total"] == 0 < before["vllm:generation_tokens_total"]
        assert after["process_start_time_seconds"] > before["process_start_time_seconds"]
        assert len(event_texts(await stream(client, chat()))) == 6

    serve(scenario)


def test_a_scheduled_restart_happens_without_a_request(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"

    async def scenario(client: TestClient) -> None:
        while len(lines := path.read_text().splitlines()) < 2:
            await asyncio.sleep(0.05)
        head, restart = (json.loads(line) for line in lines)
        assert restart["kind"] == "restart"
        assert restart["at"] - head["monotonic"] > 0.39
        assert (await series(client))["process_start_time_seconds"] > head["epoch"] + 0.3

    serve(scenario, faults=(parse_fault("restart:0.4"),), truth=str(path))
