"""What a hostile server does with one request, and which outcomes a client may give it.

Each trick is a function that writes the whole response, or does not; the connection is closed after it unless it
returns True. A `ConnectionError` while writing means that the client hung up, as most of these force it to.
"""

import asyncio
import gzip
import itertools
import json
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from probe_ext.measure.outcome import CLIENT_SIDE, Outcome

Write = Callable[[bytes], Awaitable[None]]
Send = Callable[[Write, asyncio.Event], Awaitable[bool | None]]

NOT_CONNECTED = frozenset({Outcome.CONNECT_FAILED, Outcome.CONNECT_TIMEOUT})
"""the server knows nothing of these"""
PATIENCE_S = 30.0  # longer than any timeout of the client
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
RUDE = '<img src=x onerror=alert(1)>\x1b[2J\x07\u202e\u2066=HYPERLINK("http://evil")'
_BOMB = gzip.compress(bytes(20_000_000))
_numbers = itertools.count()
_random = random.Random(1)  # noqa: S311 - which bytes are changed


@dataclass(frozen=True)
class Trick:
    """One way to treat a request."""

    send: Send
    outcomes: frozenset[Outcome]


TRICKS: dict[str, Trick] = {}


def _trick(*outcomes: Outcome) -> Callable[[Send], Send]:
    def add(send: Send) -> Send:
        TRICKS[send.__name__.strip("_").replace("_", " ")] = Trick(send, frozenset(outcomes))
        return send

    return add


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(content: str | None, finish: str | None = None, **more: object) -> bytes:
    """Return a chat event in a chunk."""
    delta = {} if content is None else {"content": content}
    document = {"id": "x", "model": RUDE, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}
    return chunk(b"data: " + json.dumps(document).encode() + b"\n\n")


DONE = chunk(b"data: [DONE]\n\n")
LAST = b"0\r\n\r\n"
HONEST = SSE + event(" a") + event(" b") + event(" c", "stop") + DONE + LAST


def usage(tokens: object) -> bytes:
    return event(None, usage={"prompt_tokens": tokens, "completion_tokens": tokens, "total_tokens": tokens})


def page(status: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@_trick(Outcome.COMPLETE)
async def _honest(write: Write, over: asyncio.Event) -> bool:
    for part in (SSE, event(" a"), event(" b"), event(" c", "stop"), DONE, LAST):
        await write(part)
        await asyncio.sleep(0.05)
    return True


@_trick(Outcome.REJECTED)
async def _busy_for_ever(write: Write, over: asyncio.Event) -> bool:
    await write(page(b"503 " + b"\x1b" * 3, b"<title>" + RUDE.encode() + b"</title>", b"Retry-After: 999999999"))
    return True


@_trick(Outcome.HTTP_ERROR)
async def _an_error_that_never_ends(write: Write, over: asyncio.Event) -> None:
    await write(b"HTTP/1.1 500 no\r\nConnection: close\r\n\r\n")
    while not over.is_set():
        await write(b"<b>no</b>" * 100)
        await asyncio.sleep(0.05)


@_trick(Outcome.HTTP_ERROR)
async def _redirect_to_others(write: Write, over: asyncio.Event) -> bool:
    await write(page(b"307 x", b"", b"Location: http://127.0.0.1:9/v1/chat/completions"))
    return True


@_trick(Outcome.HTTP_ERROR)
async def _redirect_to_itself(write: Write, over: asyncio.Event) -> bool:
    await write(page(b"308 x", b"", b"Location: /v1/chat/completions"))
    return True


@_trick(Outcome.HTTP_ERROR)
async def _a_new_error_text_each_time(write: Write, over: asyncio.Event) -> bool:
    text = f"{next(_numbers)} {os.urandom(40).hex()} {RUDE}"
    await write(page(b"418 x", json.dumps({"error": {"message": text, "code": 418}}).encode()))
    return True


@_trick(Outcome.BAD_DATA)
async def _endless_headers(write: Write, over: asyncio.Event) -> None:
    await write(b"HTTP/1.1 200 OK\r\n")
    while not over.is_set():
        await write(b"X-More: " + b"a" * 4000 + b"\r\n")


@_trick(Outcome.TIMEOUT_FIRST)
async def _dripped_headers(write: Write, over: asyncio.Event) -> None:
    await write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not over.is_set():
        await write(b"x")
        await asyncio.sleep(0.2)


@_trick(Outcome.BAD_DATA, Outcome.TIMEOUT_FIRST)
async def _interim_responses_for_ever(write: Write, over: asyncio.Event) -> None:
    while not over.is_set():
        await write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10)
        await asyncio.sleep(0.01)


@_trick(Outcome.TIMEOUT_FIRST)
async def _dripped_body(write: Write, over: asyncio.Event) -> None:
    await write(PLAIN)
    for byte in itertools.cycle(b": alive\n\n"):
        if over.is_set():
            return
        await write(bytes([byte]))
        await asyncio.sleep(0.1)


@_trick(Outcome.TIMEOUT_FIRST)
async def _roles_without_end(write: Write, over: asyncio.Event) -> None:
    await write(SSE)
    while not over.is_set():
        await write(event("", None, role="assistant"))
        await asyncio.sleep(0.05)


@_trick(Outcome.BAD_DATA)
async def _an_event_without_end(write: Write, over: asyncio.Event) -> None:
    await write(PLAIN + b"data: ")
    while not over.is_set():
        await write(b"a" * 65536)


@_trick(Outcome.BAD_DATA)
async def _a_document_without_end(write: Write, over: asyncio.Event) -> None:
    await write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{"choices": "')
    while not over.is_set():
        await write(b"a" * 65536)


@_trick(Outcome.BAD_DATA)
async def _a_gzip_bomb(write: Write, over: asyncio.Event) -> None:
    await write(page(b"200 OK", _BOMB, b"Content-Encoding: gzip", b"Content-Type: text/event-stream"))


@_trick(Outcome.BAD_DATA)
async def _cut_json(write: Write, over: asyncio.Event) -> None:
    await write(PLAIN + b'data: {"choices": [{"delta": {"content": \n\n' * 3)


@_trick(Outcome.BAD_DATA)
async def _deep_json(write: Write, over: asyncio.Event) -> None:
    await write(PLAIN + b'data: {"choices": ' + b"[" * 200_000 + b"\n\n")


@_trick(Outcome.BAD_DATA, Outcome.TRUNCATED)
async def _wrong_types(write: Write, over: asyncio.Event) -> None:
    for choices in (
        '{"0": 1}',
        "[null, 5]",
        '[{"index": "x", "delta": []}]',
        '[{"index": 0, "delta": {"content": {}}}]',
    ):
        await write(PLAIN if choices == '{"0": 1}' else b"")
        await write(b'data: {"choices": %b, "usage": []}\n\n' % choices.encode())


@_trick(Outcome.BAD_DATA, Outcome.COMPLETE, Outcome.TRUNCATED)
async def _choices_by_the_thousand(write: Write, over: asyncio.Event) -> None:
    choices = [{"index": 2**40 + n, "delta": {"content": "a"}} for n in range(20_000)]
    await write(SSE + chunk(b"data: " + json.dumps({"choices": choices}).encode() + b"\n\n") + DONE + LAST)


@_trick(Outcome.COMPLETE)
async def _counts_beyond_belief(write: Write, over: asyncio.Event) -> bool:
    await write(HONEST[: -len(DONE + LAST)])
    for tokens in (2**64 - 1, -1, "1" * 400, 1e308, [], True):
        await write(usage(tokens))
    await write(DONE + LAST)
    return True


@_trick(Outcome.COMPLETE)
async def _finish_reasons_of_its_own(write: Write, over: asyncio.Event) -> bool:
    await write(SSE + event(RUDE) + event(RUDE, f"=1+{next(_numbers)}\x1b[31m\u202e") + DONE + LAST)
    return True


@_trick(Outcome.STREAM_ERROR)
async def _an_error_in_the_stream(write: Write, over: asyncio.Event) -> None:
    await write(SSE + event(" a") + chunk(b'data: {"error": {"message": %b}}\n\n' % json.dumps(RUDE).encode()) + LAST)


@_trick(Outcome.CUT)
async def _cut_in_the_middle(write: Write, over: asyncio.Event) -> None:
    await write(SSE + event(" a"))


@_trick(Outcome.CUT)
async def _fewer_bytes_than_announced(write: Write, over: asyncio.Event) -> None:
    await write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999999\r\n\r\n")
    await write(b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n')


@_trick(Outcome.CUT)
async def _no_answer_at_all(write: Write, over: asyncio.Event) -> None:
    await asyncio.sleep(0)


@_trick(Outcome.TRUNCATED)
async def _done_too_early(write: Write, over: asyncio.Event) -> bool:
    await write(SSE + event(" a") + DONE + LAST)
    return True


@_trick(Outcome.TIMEOUT_FIRST)
async def _silence(write: Write, over: asyncio.Event) -> None:
    await asyncio.wait_for(over.wait(), PATIENCE_S)


@_trick(Outcome.STALLED)
async def _silence_after_a_token(write: Write, over: asyncio.Event) -> None:
    await write(SSE + event(" a"))
    await asyncio.wait_for(over.wait(), PATIENCE_S)


@_trick(Outcome.TIMEOUT_TOTAL)
async def _tokens_without_end(write: Write, over: asyncio.Event) -> None:
    await write(SSE)
    while not over.is_set():
        await write(event(" a"))
        await asyncio.sleep(0.1)


@_trick(Outcome.COMPLETE)
async def _a_stream_that_stays_open(write: Write, over: asyncio.Event) -> None:
    await write(HONEST[: -len(LAST)])
    await asyncio.wait_for(over.wait(), PATIENCE_S)


@_trick(Outcome.COMPLETE)
async def _two_answers_to_one_question(write: Write, over: asyncio.Event) -> bool:
    await write(HONEST + page(b"500 not yours", b"the next request must not get this"))
    return True


@_trick(Outcome.BAD_DATA)
async def _two_lengths(write: Write, over: asyncio.Event) -> None:
    await write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello")


@_trick(Outcome.BAD_DATA)
async def _a_chunk_of_all_there_is(write: Write, over: asyncio.Event) -> None:
    await write(SSE + b"ffffffffffffffffff\r\nabc")


@_trick(Outcome.BAD_DATA, Outcome.TIMEOUT_FIRST)
async def _chunk_extensions_without_end(write: Write, over: asyncio.Event) -> None:
    await write(SSE + b"5;")
    while not over.is_set():
        await write(b"a" * 4000)
        await asyncio.sleep(0.002)


@_trick(Outcome.BAD_DATA)
async def _another_protocol(write: Write, over: asyncio.Event) -> None:
    await write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x05hello")


@_trick(Outcome.BAD_DATA)
async def _no_http(write: Write, over: asyncio.Event) -> None:
    await write(b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(range(256)) * 10)


@_trick(Outcome.BAD_DATA)
async def _random_bytes(write: Write, over: asyncio.Event) -> None:
    await write(PLAIN + os.urandom(5000))


@_trick(Outcome.BAD_DATA)
async def _a_page(write: Write, over: asyncio.Event) -> bool:
    await write(page(b"200 OK", b"<html><title><script>alert(1)</script></title></html>", b"Content-Type: text/html"))
    return True


@_trick(*(set(Outcome) - CLIENT_SIDE - NOT_CONNECTED))
async def _changed_bytes(write: Write, over: asyncio.Event) -> None:
    data = bytearray(HONEST)
    for _ in range(_random.randint(1, 8)):
        data[_random.randrange(len(data))] = _random.randrange(256)
    await write(bytes(data))
