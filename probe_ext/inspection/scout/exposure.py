"""Which pages does a server show without a key, and what do they give away?

Reads a handful of well-known pages with GET and no key, and names what is on them; their contents are not kept.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from probe_ext.target.control.call_result import Answer, Failed
from probe_ext.target.server_identity import Getter

_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class OpenPage:
    """A page that was answered without a key."""

    path: str
    gives_away: str
    secret: bool
    """whether it may contain secrets, prompts of others, or switches"""


@dataclass(frozen=True, slots=True)
class _Page:
    path: str
    gives_away: str
    secret: bool
    recognise: Callable[[str], bool]


def _keys(*names: str) -> Callable[[str], bool]:
    """Return a test for a JSON object, or a list of them, with one of these keys."""

    def recognise(text: str) -> bool:
        try:
            value: Any = json.loads(text)
        except ValueError:
            return False
        first = value[0] if isinstance(value, list) and value else value
        return isinstance(first, Mapping) and any(name in first for name in names)

    return recognise


_PAGES = (
    _Page("/metrics", "", False, lambda text: "# TYPE" in text or "# HELP" in text),
    _Page("/version", "the exact version, and so its known weaknesses", False, _keys("version")),
    _Page("/v1/models", "the models, and often the path that they were loaded from", False, _keys("data")),
    _Page("/get_server_info", "SGLang's whole command line, keys in it included", True, _keys("version", "model_path")),
    _Page("/server_info", "vLLM's whole configuration (development mode)", True, _keys("vllm_config")),
    _Page("/props", "llama.cpp's model path, chat template and settings", False, _keys("default_generation_settings")),
    _Page("/slots", "llama.cpp's slots, with the prompts of other users", True, _keys("id_task", "is_processing")),
    _Page("/info", "TGI's model, version and limits", False, _keys("model_id")),
    _Page("/api/tags", "Ollama's models; its open API can also delete them", True, _keys("models")),
    _Page("/openapi.json", "every route, those for administration included", False, _keys("openapi")),
)
_ON_METRICS = (
    ("cache_config_info", "the configuration of the KV cache"),
    ("model_name", "the model's name"),
    ("num_requests_running", "how busy it is"),
    ("generation_tokens", "how much it is used"),
    ("lora", "the names of LoRA adapters"),
    ("process_start_time", "when it was started"),
)


def open_pages(root: str, fetcher: Getter) -> tuple[OpenPage, ...]:
    """Return the pages that are open. `fetcher` must not have a key."""
    found = []
    for page in _PAGES:
        answer = fetcher.get(root + page.path, _TIMEOUT_S)
        if isinstance(answer, Failed):
            if answer.why in {"connection refused", "unknown host name"}:
                break
            continue
        text = _text(answer)
        if page.recognise(text):
            found.append(OpenPage(page.path, page.gives_away or _on_metrics(text), page.secret))
    return tuple(found)


def _text(answer: Answer) -> str:
    return answer.body.decode("utf-8", "replace")


def _on_metrics(text: str) -> str:
    said = [meaning for name, meaning in _ON_METRICS if name in text]
    return ", ".join(said) or "internal figures"
