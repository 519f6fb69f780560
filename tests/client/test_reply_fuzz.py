"""Mutated replies of the catalogue: no crash, no hang, and no complete reply out of a broken one."""

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from reply_catalogue import Entry, entries
from test_reply_catalogue import read_both_ways, values, without_times

from probe_ext.client.reply import Reply
from probe_ext.client.wire.http_framing import BadResponseError
from probe_ext.measure.outcome import Outcome

CATALOGUE = entries()
STREAMS = [
    entry
    for entry in CATALOGUE
    if entry.expect["outcome"] == "complete" and entry.ending is None and not entry.chunked and len(entry.body) > 1
]
GARBAGE = [
    *(b"\n", b"\n\n", b"\r", b"\x00", b"\xff\xfe", b"data: \n\n", b"data: {\n\n", b"event: error\n", b"id: 1\n\n"),
    *(b"<html>", b"}{", b"[DONE]", b"data: [DONE]\n\n", b"\xef\xbb\xbf", b'"', b"\\", b"data: [1]\n\n", b"null"),
    *(b": x\n\n", b"retry: 1\n\n", b'data: {"choices":7}\n\n', b'data: {"choices":[{"delta":[]}]}\n\n'),
    b'data: {"choices":[],"usage":{"completion_tokens":-1}}\n\n',
    b'data: {"choices":[{"delta":{"content":{"a":[{}]}}}]}\n\n',
    b'data: {"type":"response.completed","response":7}\n\n',
    b'data: {"type":"message_delta","delta":7,"usage":[]}\n\n',
    b'data: {"type":"content_block_delta","delta":[]}\n\n',
]


HARMLESS = [b'data: {"choices":[\n\n', b"data: 3\n\n", b": note\n\n", b"data: ping\n\n"]
ODD_VALUES = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1.5,
        1e308,
        2**70,
        "",
        "null",
        "stop",
        "429",
        [],
        {},
        [None],
        [[]],
        [{}],
        {"a": 1},
        "\ud83d",
    ),
    *({"text": None}, {"content": [{"text": {"value": "x"}}]}, ["a", {"type": "thinking", "thinking": ["b"]}]),
    *({"error": None}, {"code": {}}, [1, 2], {"0": {"delta": {"content": "q"}}}),
]
KNOWN_KEYS = [
    *(
        "error",
        "usage",
        "choices",
        "delta",
        "message",
        "content",
        "index",
        "finish_reason",
        "type",
        "text",
        "reasoning",
    ),
    *(
        "thinking",
        "tool_calls",
        "function",
        "arguments",
        "role",
        "meta",
        "timings",
        "usageMetadata",
        "response",
        "output",
    ),
    *("item", "status", "code", "stop_reason", "token_ids", "refusal", "audio", "extra_content", "eval_count", "ret"),
]


def parsed(entry: Entry, reads: list[bytes], ending: Outcome | None = None) -> Reply | None:
    """Parse mutated reads; None if they are no longer a whole HTTP response."""
    try:
        return entry.reply([read for read in reads if read], ending)
    except (BadResponseError, AssertionError):
        return None


def mutated(rng: random.Random, body: list[bytes]) -> list[bytes]:
    """Cut, swap, duplicate, drop or overwrite parts of a body, or insert garbage."""
    parts = list(body)
    for _ in range(rng.randrange(1, 4)):
        which = rng.randrange(len(parts))
        at = rng.randrange(len(parts[which]) + 1)
        change = rng.randrange(6)
        if change == 0:
            parts[which] = parts[which][:at]
        elif change == 1:
            other = rng.randrange(len(parts))
            parts[which], parts[other] = parts[other], parts[which]
        elif change == 2:
            parts.insert(which, parts[which])
        elif change == 3:
            parts[which] = parts[which][:at] + rng.choice(GARBAGE) + parts[which][at + rng.randrange(4) :]
        elif change == 4 and len(parts) > 1:
            del parts[which]
        else:
            parts[which : which + 1] = [parts[which][:at], parts[which][at:]]
    return parts


def containers(value: Any) -> Iterator[Any]:
    """Yield every object and list in a JSON value that has something in it."""
    if isinstance(value, dict | list) and value:
        yield value
        for child in value.values() if isinstance(value, dict) else value:
            yield from containers(child)


def with_odd_values(rng: random.Random, part: bytes) -> bytes:
    """Replace values of an event, or add keys, by what no server should send there."""
    before, mark, data = part.partition(b"data: {")
    try:
        event = json.loads(b"{" + data)
    except ValueError:
        return part
    for _ in range(rng.randrange(1, 3)):
        chosen = rng.choice(list(containers(event)) or [event])
        if isinstance(chosen, list):
            chosen[rng.randrange(len(chosen))] = deepcopy(rng.choice(ODD_VALUES))
        else:
            chosen[rng.choice(rng.choice([list(chosen) or KNOWN_KEYS, KNOWN_KEYS]))] = deepcopy(rng.choice(ODD_VALUES))
    return before + mark[:-1] + json.dumps(event).encode() + b"\n\n"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(CATALOGUE), st.integers(0, 2**32))
def test_no_odd_value_crashes_and_both_decoders_agree(entry: Entry, seed: int) -> None:
    rng = random.Random(seed)
    body = [with_odd_values(rng, part) if rng.random() < 0.4 else part for part in entry.body]
    slow, fast = read_both_ways(entry, entry.chunks(body), batch=rng.choice([2, 5, 1000]))
    assert fast == slow


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(CATALOGUE), st.integers(0, 2**32))
def test_no_mutation_crashes_and_both_decoders_agree(entry: Entry, seed: int) -> None:
    rng = random.Random(seed)
    reads = entry.chunks(mutated(rng, entry.body))
    ending = rng.choice([None, Outcome.CUT, Outcome.STALLED, Outcome.TIMEOUT_FIRST, Outcome.ENDED_BY_US])
    slow, fast = read_both_ways(entry, reads, ending, rng.choice([2, 5, 1000]))
    assert fast == slow


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(STREAMS), st.floats(0, 1))
def test_a_stream_cut_before_its_finish_reason_is_never_complete(entry: Entry, share: float) -> None:
    """Whether the connection is lost, or ends as if all had been sent."""
    body = b"".join(entry.body)
    cut = int(share * len(body))
    for ending in (None, Outcome.CUT):
        reply = parsed(entry, [entry.head, body[:cut]], ending)
        if reply is None or reply.outcome is not Outcome.COMPLETE:
            continue
        assert reply.finish_reason is not None
        assert reply.text == values(entry.reply())["text"]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(STREAMS), st.integers(0, 2**32))
def test_an_inserted_unreadable_event_costs_nothing_else(entry: Entry, seed: int) -> None:
    rng = random.Random(seed)
    if not all(part.endswith(b"\n\n") for part in entry.body):
        return
    body = list(entry.body)
    if len(entry.reply().choices[0].text) <= 1:
        return
    body.insert(rng.randrange(1, len(body)), rng.choice(HARMLESS))
    expected, result = values(entry.reply()), values(entry.reply([entry.head, *body]))
    ignored = {"message", "message_is"}
    assert {k: v for k, v in without_times(result).items() if k not in ignored} == {
        k: v for k, v in without_times(expected).items() if k not in ignored
    }
