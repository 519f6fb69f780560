"""A minimal Prometheus on loopback: a few series, the four API calls in use, and a log of requests."""

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Fake:
    """Its series, and the requests it received."""

    series: list[tuple[dict[str, str], list[tuple[float, float]]]] = field(default_factory=list)
    helps: dict[str, str] = field(default_factory=dict)
    now: float = 0.0
    closed_left: bool = True
    """whether a range includes a sample at its start, as up to version 2"""
    header: str | None = None
    """required Authorization header"""
    answer: tuple[int, bytes] | None = None
    """response to every request, if set"""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""

    def reply(self, path: str, query: dict[str, str]) -> Any:
        if path.endswith("/label/__name__/values"):
            return sorted({labels["__name__"] for labels, _ in self.series if self._selected(labels, query)})
        if path.endswith("/metadata"):
            text = self.helps.get(query.get("metric", ""))
            return {query["metric"]: [{"type": "counter", "help": text, "unit": ""}]} if text else {}
        if query["query"] == "time()":
            return {"resultType": "scalar", "result": [self.now, str(self.now)]}
        return {"resultType": "matrix", "result": list(self._range(query))}

    def _selected(self, labels: dict[str, str], query: dict[str, str]) -> bool:
        job = re.search(r'job="([^"]*)"', query.get("match[]", query.get("query", "")))
        return job is None or labels.get("job") == job[1]

    def _range(self, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        seconds, end = int(re.findall(r"\[(\d+)s\]$", query["query"])[0]), float(query["time"])
        names = re.findall(r'__name__=~"([^"]*)"', query["query"])[0].replace("\\\\", "\\")
        for labels, samples in self.series:
            inside = [(t, v) for t, v in samples if end - seconds <= t <= end]
            inside = [(t, v) for t, v in inside if self.closed_left or t > end - seconds]
            if re.fullmatch(names, labels["__name__"]) and self._selected(labels, query) and inside:
                yield {"metric": labels, "values": [[t, str(v)] for t, v in inside]}


@contextmanager
def serving(fake: Fake) -> Iterator[Fake]:
    """Serve it on a free port, and set its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            fake.asked.append((parts.path, query))
            if fake.header and self.headers.get("Authorization") != fake.header:
                self._send(401, b"who are you?")
            elif fake.answer:
                self._send(*fake.answer)
            else:
                body = {"status": "success", "data": fake.reply(parts.path, query)}
                self._send(200, json.dumps(body).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    fake.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
