"""The Responses and Messages APIs: events and documents have the shape that a real vLLM's have."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from sim_helpers import serve

RECORDINGS = Path(__file__).parents[2] / "fixtures" / "recordings"
ASKED = [{"role": "user", "content": "how are you"}]
BODIES: dict[str, dict[str, Any]] = {
    "responses": {"input": ASKED, "max_output_tokens": 6, "ignore_eos": True},
    "messages": {"messages": ASKED, "max_tokens": 6, "ignore_eos": True},
}
NOT_SIMULATED = {"metrics", "input_messages", "output_messages", "top_logprobs", "max_tool_calls", "prompt"}
NOT_SIMULATED |= {"temperature", "top_p", "presence_penalty", "frequency_penalty", "kv_transfer_params"}
NOT_SIMULATED |= {"ec_transfer_params", "cache_write_tokens", "input_tokens_per_turn", "cached_tokens_per_turn"}
NOT_SIMULATED |= {"output_tokens_per_turn", "tool_output_tokens_per_turn"}


def events(raw: str) -> list[tuple[str, Any]]:
    """Return (name, data) of each event."""
    blocks = [block.split("\n", 1) for block in raw.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def shape(value: Any) -> Any:
    """Return a value's keys and types."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items() if key not in NOT_SIMULATED}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value).__name__


async def post(client: TestClient, api: str, **more: Any) -> str:
    response = await client.post(f"/v1/{api}", json={**BODIES[api], **more})
    assert response.status == 200, await response.text()
    return await response.text()


@pytest.mark.parametrize("api", BODIES)
def test_streams_have_the_recorded_shape(api: str) -> None:
    recorded = events((RECORDINGS / f"sse_vllm_0.32.0_{api}.txt").read_bytes().split(b"\r\n\r\n", 1)[1].decode())

    async def scenario(client: TestClient) -> None:
        received = events(await post(client, api, stream=True))
        deltas = [data for name, data in received if "delta" in name and name != "message_delta"]
        assert len(deltas) == 6
        assert list(dict.fromkeys(name for name, _ in received)) == list(dict.fromkeys(name for name, _ in recorded))
        expected = dict(recorded)
        for name, data in received:
            assert data["type"] == name
            assert shape(data) == shape(expected[name]), name

    serve(scenario)


@pytest.mark.parametrize("api", BODIES)
def test_documents_have_the_recorded_shape(api: str) -> None:
    recorded = (RECORDINGS / f"nonstream_{api}_vllm_0.32.0.txt").read_bytes().split(b"\r\n\r\n", 1)[1]

    async def scenario(client: TestClient) -> None:
        document = json.loads(await post(client, api))
        assert shape(document) == {k: v for k, v in shape(json.loads(recorded)).items() if k != "stop_sequence"}
        assert document["usage"]["output_tokens"] == 6

    serve(scenario)


def test_both_apis_understand_instructions() -> None:
    async def scenario(client: TestClient) -> None:
        plain = json.loads(await post(client, "responses"))["usage"]["input_tokens"]
        longer = json.loads(await post(client, "responses", instructions="be brief"))["usage"]["input_tokens"]
        assert longer > plain
        usage = json.loads(await post(client, "messages", system="be brief"))["usage"]
        assert usage["input_tokens"] + usage["cache_read_input_tokens"] == longer
        assert json.loads(await post(client, "responses", input="how are you"))["usage"]["input_tokens"] == plain

    serve(scenario)


def test_a_refusal_has_the_format_of_its_api() -> None:
    async def scenario(client: TestClient) -> None:
        refused = await client.post("/v1/messages", json={"messages": ASKED})
        assert refused.status == 400
        error = {"type": "BadRequestError", "message": "max_tokens: Field required"}
        assert await refused.json() == {"type": "error", "error": error}
        other = await client.post("/v1/responses", json={**BODIES["responses"], "model": "other"})
        assert (other.status, (await other.json())["error"]["type"]) == (404, "NotFoundError")

    serve(scenario)


@pytest.mark.parametrize(
    ("api", "last"), [("responses", "response.failed"), ("messages", "error")], ids=["responses", "messages"]
)
def test_faults_in_mid_stream(api: str, last: str) -> None:
    async def scenario(client: TestClient) -> None:
        failed = (await post(client, api, stream=True, probe_fault="error@2")).removesuffix("data: [DONE]\n\n")
        assert events(failed)[-1][0] == last
        truncated = events(await post(client, api, stream=True, probe_fault="truncate@2"))
        assert truncated[-1][0] in {"response.output_text.delta", "content_block_delta"}

    serve(scenario)


@pytest.mark.parametrize("stream", [True, False])
def test_an_http_1_0_client_gets_a_reply_that_ends_with_the_connection(stream: bool) -> None:
    body = json.dumps({"messages": ASKED, "max_tokens": 3, "stream": stream, "ignore_eos": True}).encode()

    async def scenario(client: TestClient) -> None:
        reader, writer = await asyncio.open_connection(client.server.host, client.server.port)
        writer.write(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        head, _, rest = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK")
        assert b"chunked" not in head.lower()
        assert rest.endswith(b"data: [DONE]\n\n" if stream else b"}")
        writer.close()

    serve(scenario)
