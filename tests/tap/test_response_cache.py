"""The response cache answers identical requests, and nothing else: same bytes, whole replies, the same credentials."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from multidict import CIMultiDict

from probe_ext.recording.recorded_request import RecordedRequest
from probe_ext.tap.proxy.response_cache import ResponseCache, StoredReply
from probe_ext.tap.traffic.reply_meter import ReplyFacts
from tests.tap_helpers import EVENTS, STREAM_HEAD, WHOLE_STREAM, answering, chat, chunk, post, tap_before

DOCUMENT = (
    b'{"choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}],'
    b'"usage": {"prompt_tokens": 9, "completion_tokens": 2}}'
)
WHOLE_DOCUMENT = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(DOCUMENT),
    DOCUMENT,
)


def asked(response: bytes, requests: Sequence[bytes], folder: Path, age: float = 60.0) -> tuple[list[bytes], int]:
    """Return what clients get for requests one after another, and how many of them reached the server."""
    seen: list[bytes] = []

    async def run() -> list[bytes]:
        async with tap_before(answering(response, seen), folder, cache=ResponseCache(10**6, age)) as tap:
            answers = [await tap.exchange(request) for request in requests]
            # Not what another test asks, of a port that nobody had a moment ago.
            lines = await tap.recorded(len(requests), "POST")
            assert [line.cached for line in lines] == [b"x-probe-cache: hit" in answer for answer in answers]
            if any(line.cached for line in lines):
                _check_same_figures(lines)
            return answers

    return asyncio.run(run()), len(seen)


def _check_same_figures(lines: list[RecordedRequest]) -> None:
    """A stored reply is recorded as it was measured, with its own times."""
    names = ("input_tokens", "output_tokens", "events", "output_characters", "finish", "status", "response_bytes")
    asked_first, again = lines[0], next(line for line in lines if line.cached)
    assert [getattr(again, name) for name in names] == [getattr(asked_first, name) for name in names]
    assert (again.ttft is None) == (asked_first.ttft is None)
    assert again.gaps is None
    assert again.outcome == "complete"


@pytest.mark.parametrize(("response", "stream"), [(WHOLE_STREAM, True), (WHOLE_DOCUMENT, False)])
def test_the_same_bytes_come_again_with_a_header_that_says_so(response: bytes, stream: bool, tmp_path: Path) -> None:
    (first, second), reached = asked(response, [post(chat(stream=stream))] * 2, tmp_path)
    assert reached == 1
    assert b"x-probe-cache: miss" in first
    assert b"x-probe-cache: hit" in second
    assert b"Age: 0" in second
    assert second.partition(b"\r\n\r\n")[2] == first.partition(b"\r\n\r\n")[2] == response.partition(b"\r\n\r\n")[2]


def test_the_order_of_keys_does_not_matter(tmp_path: Path) -> None:
    body = chat(temperature=0)
    assert asked(WHOLE_STREAM, [post(body), post(dict(reversed(body.items())))], tmp_path)[1] == 1


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (post(chat()), post(chat(stream=False))),
        (post(chat()), post(chat(temperature=1))),
        (post(chat()), post(chat("Hello "))),
        (post(chat()), post(chat(), "/v1/chat/completions?x=1")),
        (post(chat()), post(chat(), "/v1/messages")),
        (post(chat(), "/v1/chat/completions", "Authorization: Bearer 1"),
         post(chat(), "/v1/chat/completions", "Authorization: Bearer 2")),
        (post(chat()), post(chat(), "/v1/chat/completions", "X-Api-Key: 2")),
        (post(chat()), post(chat(), "/v1/chat/completions", "Accept-Encoding: gzip")),
        (post(chat()), post(chat(), "/v1/chat/completions", "Cache-Control: no-cache")),
        (post(chat(), "/v1/embeddings"), post(chat(), "/v1/embeddings")),
        (post(b"{"), post(b"{")),
    ],
)  # fmt: skip
def test_other_requests_reach_the_server(one: bytes, two: bytes, tmp_path: Path) -> None:
    assert asked(WHOLE_STREAM, [one, two], tmp_path)[1] == 2


@pytest.mark.parametrize(
    "response",
    [
        STREAM_HEAD + chunk(EVENTS[0]),
        STREAM_HEAD + chunk(EVENTS[0]) + b"0\r\n\r\n",
        STREAM_HEAD + chunk(b'data: {"error": {"message": "x"}}\n\n') + b"0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 No\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html>no",
        WHOLE_DOCUMENT.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b\r\n\r\n", 1),
        WHOLE_DOCUMENT.replace(b"\r\n\r\n", b"\r\nCache-Control: no-store\r\n\r\n", 1),
        WHOLE_DOCUMENT.replace(b"\r\n\r\n", b"\r\nVary: X-User\r\n\r\n", 1),
    ],
)
def test_failures_cut_replies_and_private_ones_are_not_stored(response: bytes, tmp_path: Path) -> None:
    assert asked(response, [post(chat())] * 2, tmp_path)[1] == 2


def test_old_replies_are_not_used(tmp_path: Path) -> None:
    assert asked(WHOLE_STREAM, [post(chat())] * 2, tmp_path, age=0.0)[1] == 2


def stored(size: int, at: float = 0.0) -> StoredReply:
    return StoredReply(200, "OK", CIMultiDict(), (b"x" * size,), at, ReplyFacts("complete"))


def test_its_size_is_bounded_and_the_least_recently_used_goes_first() -> None:
    cache = ResponseCache(10_000, 60.0)
    for name in (b"a", b"b", b"c", b"d"):
        cache.store(name, stored(1_400))
    assert cache.find(b"a", 1.0) is not None
    cache.store(b"e", stored(1_400))
    assert [cache.find(name, 1.0) is not None for name in (b"a", b"b", b"c", b"d", b"e")] == [
        True, False, True, True, True,
    ]  # fmt: skip
    assert cache.bytes <= 10_000
    cache.store(b"f", stored(5_000))  # more than a quarter of it
    assert cache.find(b"f", 1.0) is None
    cache.store(b"a", stored(10))
    cache.store(b"a", stored(10))
    assert cache.bytes == sum(reply.size for reply in cache._replies.values())
