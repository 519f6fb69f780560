"""The catalogue of replies under tests/fixtures/replies, as reads; see its README."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from recorded_replies import events_of, read, recorded

from probe_ext.client.reply import Ending, Reply
from probe_ext.measure.outcome import Outcome

FOLDER = Path(__file__).parent.parent / "fixtures" / "replies"
RECORDINGS = FOLDER.parent / "recordings"
CLOSE = b"Connection: close"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where PyYAML has it
EVENT_STREAM = {"content-type": "text/event-stream"}


@dataclass(frozen=True)
class Entry:
    """A reply: its head and the reads of its body, the end of the connection, and what is right."""

    name: str
    head: bytes
    body: list[bytes]
    chunked: bool
    ending: Outcome | None
    choices: int
    expect: dict[str, Any]

    @property
    def file(self) -> str:
        """Return the name of its file."""
        return self.name.partition(": ")[0]

    def wire(self, body: list[bytes] | None = None) -> list[bytes]:
        """Return the reads, head first."""
        parts = self.body if body is None else body
        if self.chunked:
            return [self.head, *[b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part], b"0\r\n\r\n"]
        return [self.head, *[part for part in parts if part]]

    def chunks(self, body: list[bytes] | None = None) -> list[bytes]:
        """Return the reads with a chunk each, as servers send them; as `wire` if the framing is part of the case."""
        parts = self.body if body is None else body
        if self.chunked or CLOSE not in self.head:
            return self.wire(body)
        framed = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part]
        return [self.head.replace(CLOSE, b"Transfer-Encoding: chunked"), *framed, b"0\r\n\r\n"]

    def reply(self, reads: list[bytes] | None = None, ending: Outcome | None = None, batch: int = 1) -> Reply:
        """Parse it."""
        ended = ending or self.ending
        how = Ending(ended, "broken off") if ended else None
        return read(reads or self.wire(), ending=how, choices=self.choices, batch=batch)


@cache
def entries() -> list[Entry]:
    """Return the whole catalogue."""
    return [
        _entry(f"{path.stem}: {raw['name']}", raw)
        for path in sorted(FOLDER.glob("*.yaml"))
        for raw in yaml.load(path.read_text(encoding="utf-8"), LOADER)
    ]


def _entry(name: str, raw: dict[str, Any]) -> Entry:
    ending = Outcome(raw["ending"]) if "ending" in raw else None
    if "document" in raw:
        head, body = (RECORDINGS / raw["document"]).read_bytes().split(b"\r\n\r\n", 1)
        return Entry(name, head + b"\r\n\r\n", [body], False, ending, 1, raw["expect"])
    if "recording" in raw:
        return Entry(name, _head(raw, 0), events_of(recorded(raw["recording"])[1]), False, ending, 1, raw["expect"])
    body = _together(_body(raw), raw.get("together", 1))
    head = raw["head"].encode() if "head" in raw else _head(raw, sum(map(len, body)))
    return Entry(name, head, body, raw.get("framing") == "chunked", ending, raw.get("n", 1), raw["expect"])


def _head(raw: dict[str, Any], length: int) -> bytes:
    lines = [f"HTTP/1.1 {raw.get('status', 200)} X"]
    framing = {"chunked": "Transfer-Encoding: chunked", "length": f"Content-Length: {length}"}
    headers = EVENT_STREAM | raw.get("headers", {})
    lines += [f"{key}: {value}" for key, value in headers.items() if value is not None]
    lines.append(framing.get(raw.get("framing", ""), CLOSE.decode()))
    return "\r\n".join([*lines, "", ""]).encode()


def _body(raw: dict[str, Any]) -> list[bytes]:
    if "reads" in raw:
        return [part.encode("latin-1" if raw.get("latin1") else "utf-8") for part in raw["reads"]]
    if "named" in raw:
        named = [f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() for name, data in raw["named"]]
        return named + ([b"data: [DONE]\n\n"] if raw.get("done") else [])
    events = [*raw.get("events", []), *map(_chunk, raw.get("deltas", []))]
    more = [_event(each) for each in raw.get("more", [])] + [each.encode() for each in raw.get("raw_more", [])]
    ends = [{"choices": [{"index": 0, "delta": {}, "finish_reason": raw["finish"]}]}] if "finish" in raw else []
    ends += [{"choices": [], "usage": raw["usage"]}] if "usage" in raw else []
    parts = list(map(_event, events))
    parts += [*more, *map(_event, ends)] if raw.get("more_first") else [*map(_event, ends), *more]
    return parts + ([b"data: [DONE]\n\n"] if raw.get("done", True) else [])


def _chunk(delta: str | dict[str, Any]) -> dict[str, Any]:
    content = {"content": delta} if isinstance(delta, str) else delta
    choice = {"index": 0, "delta": content, "logprobs": None, "finish_reason": None}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def _event(data: str | dict[str, Any]) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


def _together(parts: list[bytes], size: int) -> list[bytes]:
    return [b"".join(parts[start : start + size]) for start in range(0, len(parts), size)]
