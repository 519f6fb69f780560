"""The HTTP API: counts are exact, formats and errors are vLLM's. The server runs ten times faster than its profile."""

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sim_helpers import chat, event_texts, series, serve, stream, tiny

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


async def count(client: TestClient, **body: Any) -> int:
    answer = await (await client.post("/tokenize", json=body)).json()
    assert answer["count"] == len(answer["tokens"])
    assert answer["max_model_len"] == 1600
    return int(answer["count"])


def test_a_streamed_chat() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat("how are you"))
        assert received[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
        assert received[-1] == "[DONE]"
        assert received[-2]["choices"] == []
        assert received[-3]["choices"][0]["finish_reason"] == "length"
        texts = event_texts(received)
        assert len(texts) == 6
        usage = received[-2]["usage"]
        prompt = await count(client, messages=[{"role": "user", "content": "how are you"}])
        assert usage["prompt_tokens"] == prompt
        assert usage["completion_tokens"] == await count(client, prompt="".join(texts)) == 6
        assert usage["total_tokens"] == prompt + 6
        assert usage["prompt_tokens_details"] == {"cached_tokens": 0}
        assert {event["id"] for event in received[:-1]} == {received[0]["id"]}
        assert received[0]["id"].startswith("chatcmpl-")

    serve(scenario)


def test_a_streamed_completion_has_no_role_chunk() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, {"prompt": "how are you", "stream": True, "ignore_eos": True}, COMPLETIONS)
        assert len(event_texts(received)) == 16 == len(received) - 1  # vLLM's default; no usage without include_usage
        assert all("usage" not in event for event in received[:-1])
        assert received[0]["object"] == "text_completion"

    serve(scenario)


def test_continuous_usage_counts_up() -> None:
    async def scenario(client: TestClient) -> None:
        options = {"include_usage": True, "continuous_usage_stats": True}
        received = await stream(client, chat(stream_options=options))
        assert [event["usage"]["completion_tokens"] for event in received[:-1]] == [0, 1, 2, 3, 4, 5, 6, 6]

    serve(scenario)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_non_streamed_reply(path: str) -> None:
    async def scenario(client: TestClient) -> None:
        body = chat(prompt="how are you", stream=False, stream_options=None)
        answer = await (await client.post(path, json=body)).json()
        choice = answer["choices"][0]
        text = choice["message"]["content"] if path == CHAT else choice["text"]
        assert await count(client, prompt=text) == 6 == answer["usage"]["completion_tokens"]
        assert choice["finish_reason"] == "length"

    serve(scenario)


def test_a_reply_that_stops_ends_with_a_token_without_text() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat(ignore_eos=False, max_tokens=1000))
        texts = event_texts(received)
        assert received[-3]["choices"][0]["finish_reason"] == "stop"
        assert texts[-1] == ""
        assert all(texts[:-1])
        assert received[-2]["usage"]["completion_tokens"] == len(texts) > 20

    serve(scenario)


def test_several_choices() -> None:
    async def scenario(client: TestClient) -> None:
        received = await stream(client, chat(n=3))
        ends = [event["choices"][0]["index"] for event in received[:-2] if event["choices"][0].get("finish_reason")]
        assert sorted(ends) == [0, 1, 2]
        assert received[-2]["usage"]["completion_tokens"] == 18
        whole = await (await client.post(CHAT, json=chat(n=2, stream=False, stream_options=None))).json()
        assert [choice["index"] for choice in whole["choices"]] == [0, 1]

    serve(scenario)


def test_the_second_of_two_equal_prompts_is_cached() -> None:
    async def scenario(client: TestClient) -> None:
        cold = await stream(client, chat("one two three four five six seven"))
        warm = await stream(client, chat("one two three four five six seven"))
        prompt = cold[-2]["usage"]["prompt_tokens"]
        cached = warm[-2]["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert cached == (prompt - 1) // 4 * 4
        samples = await series(client)
        assert samples["vllm:prefix_cache_queries_total"] == 2 * prompt
        assert samples["vllm:prefix_cache_hits_total"] == cached

    serve(scenario)


def test_replies_depend_only_on_the_seed() -> None:
    answers: list[list[str]] = []

    async def scenario(client: TestClient) -> None:
        answers.append(event_texts(await stream(client, chat())) + event_texts(await stream(client, chat())))

    for seed in (1, 1, 2):
        serve(scenario, seed=seed)
    assert answers[0] == answers[1] != answers[2]
    assert answers[0][:6] != answers[0][6:]  # but different requests get different replies


def test_a_greedy_request_always_gets_the_same_reply() -> None:
    async def scenario(client: TestClient) -> None:
        first, second = [event_texts(await stream(client, chat(temperature=0))) for _ in range(2)]
        assert first == second
        assert first != event_texts(await stream(client, chat("who are you", temperature=0)))

    serve(scenario)


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        (chat(model="nope"), 404, "NotFoundError", "The model `nope` does not exist. Valid aliases: tiny."),
        (chat(max_tokens=5000), 400, "BadRequestError", "max_tokens=5000 cannot be greater than max_model_len=1600"),
        (chat("a " * 1700), 400, "BadRequestError", "maximum context length is 1600 tokens"),
        (chat("a " * 1500, max_tokens=200), 400, "BadRequestError", "you requested 200 output tokens"),
        (chat(temperature=-3), 400, "BadRequestError", "temperature must be non-negative, got -3.0"),
        (chat(max_tokens=0), 400, "BadRequestError", "max_tokens must be an integer of at least 1"),
        (chat(messages=[]), 400, "BadRequestError", "messages"),
        (chat(stream=False), 400, "BadRequestError", "Stream options"),
        (chat(probe_fault="flood"), 400, "BadRequestError", "'flood'"),
    ],
)
def test_invalid_requests(body: dict[str, Any], status: int, kind: str, words: str) -> None:
    async def scenario(client: TestClient) -> None:
        response = await client.post(CHAT, json=body)
        error = (await response.json())["error"]
        assert (response.status, error["type"], error["code"]) == (status, kind, status)
        assert words in error["message"]

    serve(scenario)


def test_bad_json_and_unknown_paths() -> None:
    async def scenario(client: TestClient) -> None:
        response = await client.post(CHAT, data=b'{"mod')
        assert response.status == 400
        error = (await response.json())["error"]
        assert "JSON decode error" in error["message"]
        assert error["type"] == "Bad Request"
        assert (await client.post(CHAT, data=b"[1]")).status == 400
        assert (await client.post(COMPLETIONS, json={"prompt": ""})).status == 400
        assert (await client.post(COMPLETIONS, json={"prompt": [1, 999_999]})).status == 400
        wrong = await client.get("/nope")
        assert (wrong.status, await wrong.json()) == (404, {"detail": "Not Found"})
        assert (await client.get(CHAT)).status == 405

    serve(scenario)


def test_a_prompt_can_be_token_ids() -> None:
    async def scenario(client: TestClient) -> None:
        ids = (await (await client.post("/tokenize", json={"prompt": "one two three"})).json())["tokens"]
        answer = await (await client.post(COMPLETIONS, json={"prompt": ids, "max_tokens": 1})).json()
        assert answer["usage"]["prompt_tokens"] == len(ids)

    serve(scenario)


def test_the_api_key_is_required_under_v1_only() -> None:
    async def scenario(client: TestClient) -> None:
        for headers, status in (({}, 401), ({"Authorization": "Bearer x"}, 401), ({"Authorization": "Bearer k"}, 200)):
            response = await client.post(CHAT, json=chat(), headers=headers)
            assert response.status == status
            await response.read()
        assert (await client.get("/v1/models")).status == 401
        for path in ("/health", "/version", "/metrics"):
            assert (await client.get(path)).status == 200

    serve(scenario, api_key="k")


def test_models_version_and_metrics() -> None:
    async def scenario(client: TestClient) -> None:
        model = (await (await client.get("/v1/models")).json())["data"][0]
        assert (model["id"], model["max_model_len"]) == ("mine", 1600)
        version = await (await client.get("/version")).json()
        assert version["version"] == "0.32.0"
        text = await (await client.get("/metrics")).text()
        assert 'model_name="mine"' in text
        assert list(text_string_to_metric_families(text))

    serve(scenario, model="mine")


def test_a_disconnect_aborts_the_request() -> None:
    async def scenario(client: TestClient) -> None:
        response = await client.post(CHAT, json=chat(max_tokens=1500))
        await response.content.readany()
        response.close()
        while (samples := await series(client))["vllm:num_requests_running"]:
            await asyncio.sleep(0.02)
        assert samples["vllm:kv_cache_usage_perc"] == 0
        assert samples["vllm:request_success_total"] == 0
        assert 0 < samples["vllm:generation_tokens_total"] < 1500

    serve(scenario, speed=1.0)


def test_a_disconnect_during_a_step_is_visible_when_the_step_ends() -> None:
    async def scenario(client: TestClient) -> None:
        response = await client.post(CHAT, json=chat(max_tokens=1500))
        await response.content.readany()
        before = await series(client)
        response.close()
        while (samples := await series(client))["vllm:generation_tokens_total"] == before[
            "vllm:generation_tokens_total"
        ]:
            await asyncio.sleep(0.02)
        while (samples := await series(client))["vllm:num_requests_running"]:
            await asyncio.sleep(0.02)
        assert samples["vllm:generation_tokens_total"] < 1500

    serve(scenario, speed=0.02)  # a step takes half a second


def test_counters_are_exact_under_load() -> None:
    async def scenario(client: TestClient) -> None:
        received = await asyncio.gather(*(stream(client, chat(f"number {n} asks", max_tokens=40)) for n in range(30)))
        assert [len(event_texts(each)) for each in received] == [40] * 30
        samples = await series(client)
        assert samples["vllm:generation_tokens_total"] == 1200
        assert samples["vllm:prompt_tokens_total"] == sum(each[-2]["usage"]["prompt_tokens"] for each in received)
        assert samples["vllm:request_success_total"] == 30
        assert samples["vllm:num_preemptions_total"] > 0
        assert samples["http_requests_total"] == 30

    serve(scenario, profile=tiny(100, max_num_seqs=64), speed=20.0)


def test_metrics_can_be_absent() -> None:
    async def scenario(client: TestClient) -> None:
        assert (await client.get("/metrics")).status == 404

    serve(scenario, metrics="off")


def test_metrics_can_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probe_ext.sim.api.app.SLOW_METRICS_S", 0.4)

    async def scenario(client: TestClient) -> None:
        started = asyncio.get_running_loop().time()
        assert (await client.get("/metrics")).status == 200
        assert asyncio.get_running_loop().time() - started >= 0.4

    serve(scenario, metrics="slow")
