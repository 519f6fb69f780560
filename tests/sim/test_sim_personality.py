"""Each personality, as the client sees it."""

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from sim_helpers import chat, event_texts, events, series, serve, stream, tiny

from probe_ext.sim.personality import PersonalityError, parse_personality

CHAT = "/v1/chat/completions"


async def count(client: TestClient, text: str) -> int:
    return int((await (await client.post("/tokenize", json={"prompt": text})).json())["count"])


def test_personality_sequential_serves_one_at_a_time() -> None:
    async def scenario(client: TestClient) -> None:
        order: list[int] = []

        async def send(number: int) -> None:
            await stream(client, chat(max_tokens=20))
            order.append(number)

        tasks = [asyncio.create_task(send(n)) for n in range(4)]
        max_running = 0.0
        while not all(task.done() for task in tasks):
            max_running = max(max_running, (await series(client))["vllm:num_requests_running"])
            await asyncio.sleep(0.005)
        assert max_running == 1
        assert order == [0, 1, 2, 3]

    serve(scenario, personality=parse_personality("sequential"))


@pytest.mark.parametrize("more", [{}, {"stream": False, "stream_options": None}])
def test_personality_response_cache_answers_identical_requests_without_the_engine(more: dict[str, Any]) -> None:
    async def scenario(client: TestClient) -> None:
        first, second, third = [await (await client.post(CHAT, json=chat(text, **more))).text() for text in "aab"]
        assert first == second != third
        assert (await series(client))["vllm:request_success_total"] == 2

    serve(scenario, personality=parse_personality("response-cache"))


def test_personality_first_token_ends_every_reply_after_one_token() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat(max_tokens=50))
        assert len(event_texts(received)) == 1
        assert received[-2]["usage"]["completion_tokens"] == 1
        assert (await series(client))["vllm:generation_tokens_total"] == 1

    serve(scenario, personality=parse_personality("first-token"))


def test_personality_chunky_sends_several_tokens_per_event() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat(max_tokens=11))
        assert [await count(client, text) for text in event_texts(received)] == [1, 4, 4, 2]
        assert received[-2]["usage"]["completion_tokens"] == 11

    serve(scenario, personality=parse_personality("chunky"))


def test_personality_held_back_sends_empty_events_and_their_text_with_the_next_event() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat(max_tokens=200))
        texts = event_texts(received)
        assert len(texts) == 200 == received[-2]["usage"]["completion_tokens"]
        assert 4 <= texts.count("") <= 8
        assert await count(client, "".join(texts)) == 200

    serve(scenario, personality=parse_personality("held-back"))


def test_personality_early_role_sends_the_role_before_the_first_token() -> None:
    async def scenario(client: TestClient) -> None:
        response = await client.post(CHAT, json=chat())
        first = events((await response.content.readany()).decode())
        assert len(first) == 1
        assert "role" in first[0]["choices"][0]["delta"]
        rest = events((await response.read()).decode())
        assert len(event_texts(rest)) == 6
        assert all("role" not in event["choices"][0]["delta"] for event in rest[:-2])

    serve(scenario, profile=tiny(400, frontend_s=1.0), personality=parse_personality("early-role"))


def test_personality_no_details_is_vllm_s_default_usage() -> None:
    async def scenario(client: TestClient) -> None:
        assert "prompt_tokens_details" not in (await stream(client, chat()))[-2]["usage"]

    serve(scenario, personality=parse_personality("no-details"))


def test_personalities_can_be_combined() -> None:
    both = parse_personality("sequential,chunky")
    assert both.sequential
    assert both.stream_interval == 4


def test_an_unknown_personality_is_named() -> None:
    with pytest.raises(PersonalityError, match="'grumpy' is not one of vllm, sequential"):
        parse_personality("vllm,grumpy")


def test_personality_cold_start_delays_the_first_step() -> None:
    waits: list[float] = []

    async def scenario(client: TestClient) -> None:
        for _ in range(2):
            before = (await series(client))["vllm:time_to_first_token_seconds_sum"]
            await stream(client, chat())
            waits.append((await series(client))["vllm:time_to_first_token_seconds_sum"] - before)

    serve(scenario, profile=tiny(400, warmup_s=4.0), personality=parse_personality("cold-start"))
    assert waits[0] > 0.4 > waits[1]  # ten times faster than the profile's 4 s
