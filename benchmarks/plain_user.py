"""A locustfile without this package: an HttpUser that reads and times the lines of a stream."""

import json
import os
import time
from pathlib import Path

from locust import HttpUser, events, task

_ttfts: list[float] = []
_gaps: list[float] = []


class PlainUser(HttpUser):
    """Sends requests without think time and reads replies line by line."""

    @task
    def ask(self) -> None:
        """Send one request."""
        body = {
            "model": "paced", "stream": True, "max_tokens": 100, "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": "one two three"}],
        }  # fmt: skip
        sent, last = time.perf_counter(), None
        with self.client.post("/v1/chat/completions", json=body, stream=True, catch_response=True) as response:
            for line in response.iter_lines():
                if not line.startswith(b"data: {"):
                    continue
                choices = json.loads(line[6:])["choices"]
                if choices and choices[0]["delta"].get("content"):
                    now = time.perf_counter()
                    (_gaps if last else _ttfts).append(now - (last or sent))
                    last = now
            response.success()
        if len(_ttfts) >= int(os.environ["BENCH_REQUESTS"]):
            self.environment.runner.quit()


@events.quitting.add_listener
def _write(**_: object) -> None:
    Path(os.environ["BENCH_TOKEN_LOG"]).write_text(json.dumps({"ttft": _ttfts, "gaps": _gaps}))
