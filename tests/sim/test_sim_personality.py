"""Each personality, as the client sees it."""

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from sim_helpers import chat, event_texts, events, series, serve, stream, tiny

from probe_ext.sim.personality import FAR_S, PersonalityError, parse_personality

CHAT = "/v1/chat/completions"


async def count(client: TestClient, text: str) -> int:
    return int((await (await client.post("/tokenize", json={"prompt": text})).json())["count"])


TOOLS = {"tools": [{"type": "function", "function": {"name": "set_colour"}}]}


def deltas(received: list[Any]) -> list[dict[str, Any]]:
    return [event["choices"][0]["delta"] for event in received if event != "[DONE]" and event["choices"]]


def test_personality_tools_streams_a_call_as_it_is_generated() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat(max_tokens=9, ignore_eos=False, min_tokens=8, **TOOLS))
        calls = [delta["tool_calls"][0] for delta in deltas(received) if "tool_calls" in delta]
        assert calls[0]["function"]["name"] == "set_colour"
        arguments = "".join(call["function"]["arguments"] for call in calls)
        assert arguments.startswith('{"colour": "')
        assert len(calls) == received[-2]["usage"]["completion_tokens"]
        whole = await (await client.post(CHAT, json=chat(stream=False, stream_options=None, **TOOLS))).json()
        assert whole["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "set_colour"
        assert not any("tool_calls" in delta for delta in deltas(await stream(client, chat())))

    serve(scenario, personality=parse_personality("tools"))


def test_personality_held_tools_sends_arguments_when_they_are_complete() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat(max_tokens=30, **TOOLS))
        calls = [delta["tool_calls"][0] for delta in deltas(received) if "tool_calls" in delta]
        assert [bool(call["function"]["arguments"]) for call in calls] == [False, True]
        assert received[-2]["usage"]["completion_tokens"] == 30

    serve(scenario, personality=parse_personality("held-tools"))


def test_personality_text_tools_sends_the_call_as_text() -> None:
    async def scenario(client: TestClient) -> None:
        text = "".join(event_texts(await stream(client, chat(max_tokens=9, **TOOLS))))
        assert text.startswith('<tool_call>{"name": "set_colour", "arguments": {"colour": "')

    serve(scenario, personality=parse_personality("text-tools"))


def test_personality_no_tools_refuses_them() -> None:
    async def scenario(client: TestClient) -> None:
        refused = await client.post(CHAT, json=chat(**TOOLS))
        assert (refused.status, "--tool-call-parser" in await refused.text()) == (400, True)
        assert (await client.post(CHAT, json=chat())).status == 200

    serve(scenario, personality=parse_personality("no-tools"))


@pytest.mark.parametrize(("name", "thought"), [("reasoning", 4), ("long-reasoning", 12)])
def test_personality_reasoning_sends_it_in_a_field_of_its_own(name: str, thought: int) -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat(max_tokens=12))
        fields = [next(iter(delta)) for delta in deltas(received) if "role" not in delta]
        assert fields == ["reasoning"] * thought + ["content"] * (12 - thought)
        whole = await (await client.post(CHAT, json=chat(max_tokens=12, stream=False, stream_options=None))).json()
        message = whole["choices"][0]["message"]
        assert await count(client, message["reasoning"]) == thought

    serve(scenario, personality=parse_personality(name))


def test_personality_think_tags_sends_reasoning_in_the_text() -> None:
    async def scenario(client: TestClient) -> None:
        texts = event_texts(await stream(client, chat(max_tokens=12)))
        assert texts[0].startswith("<think>")
        assert texts[3].endswith("</think>")

    serve(scenario, personality=parse_personality("think-tags"))


def test_personality_request_times_says_when_the_first_token_was_due() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat(max_tokens=12))
        times = received[-2]["metrics"]
        assert (
            0
            < times["time_to_first_token_ms"]
            == pytest.approx(1000 * (await series(client))["vllm:time_to_first_token_seconds_sum"])
        )
        assert times["generation_time_ms"] == pytest.approx(11 * times["mean_itl_ms"])

    serve(scenario, personality=parse_personality("request-times"))


def test_personality_duplicates_generates_each_reply_twice() -> None:
    async def scenario(client: TestClient) -> None:
        await stream(client, chat(max_tokens=12))
        await asyncio.sleep(0.2)
        counted = await series(client)
        assert (counted["vllm:request_success_total"], counted["vllm:generation_tokens_total"]) == (2, 24)

    serve(scenario, personality=parse_personality("duplicates"))


def test_personality_far_is_no_time_of_the_server() -> None:
    async def scenario(client: TestClient) -> None:
        began = asyncio.get_running_loop().time()
        received = await stream(client, chat(max_tokens=2))
        whole = asyncio.get_running_loop().time() - began
        assert received[-2]["metrics"]["time_to_first_token_ms"] / 1000 + FAR_S <= whole

    serve(scenario, personality=parse_personality("far,request-times"))


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
