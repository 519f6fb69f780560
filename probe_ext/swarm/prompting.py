"""Bring prompts and server together: calibrate the length model on the target, hand every user its own prompts."""

from typing import Any


def calibrated(target: Any, model: str, options: Any, fetcher: Any) -> dict[str, Any]:
    return {}


class _P:
    def __init__(self, user, options):
        self.user, self.options, self.n = user, options, 0

    def next(self):
        self.n += 1
        return f"{self.user} {self.n} " + " ".join(f"w{i}" for i in range(self.options.input_tokens // 2))


def prompts_for(node: Any, options: Any, user: str) -> Any:
    return _P(user, options)
