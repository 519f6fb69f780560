"""Metrics pages that say too little, or what cannot be: as real servers and proxies have sent them.

==============  ==================================================================================
``login``       a proxy's login page with status 200
``impossible``  a KV-cache usage below zero
``fast``        counters that grow a million times too fast
``frozen``      an old copy of the page, as a proxy keeps it
``ray``         the names that Ray Serve gives them
``two-models``  the same series again, of another model
``twice``       every series twice
``bare``        without the configuration of the KV cache and the process, as of vLLM's Rust frontend
``percent``     a KV-cache usage in percent
==============  ==================================================================================
"""

import re
from collections.abc import Callable

_LOGIN_PAGE = (
    "<!DOCTYPE html><html><head><title>Sign in</title></head><body><form action='/login' method='post'>"
    "<input name='user'><input name='password' type='password'></form></body></html>\n"
)
_KV_USAGE = re.compile(r"^(vllm:kv_cache_usage_perc\{[^}]*\}) (\S+)$", re.MULTILINE)
_TOKENS = re.compile(r"^(vllm:(?:generation|prompt)_tokens_total\{[^}]*\}) (\S+)$", re.MULTILINE)
_LACKING = re.compile(r"^(# (HELP|TYPE) )?(vllm:cache_config_info|process_start_time_seconds)\b")
_MODEL = re.compile(r'model_name="[^"]*"')
_FACTOR = 1e6


def _lines(page: str) -> list[str]:
    return page.splitlines(keepends=True)


def _without_configuration(page: str) -> str:
    return "".join(line for line in _lines(page) if not _LACKING.match(line))


def _twice(page: str) -> str:
    return "".join(line if line.startswith("#") else line * 2 for line in _lines(page))


def _two_models(page: str) -> str:
    others = [_MODEL.sub('model_name="another"', line) for line in _lines(page) if _MODEL.search(line)]
    return page + "".join(others)


def _rayed(page: str) -> str:
    named = [line.replace("vllm:", "ray_vllm_") for line in _lines(page)]
    return "".join(line.replace('engine="0"', 'ReplicaId="r1",WorkerId="w1",engine="0"') for line in named)


ALTERED: dict[str, Callable[[str], str]] = {
    "login": lambda _: _LOGIN_PAGE,
    "impossible": lambda page: _KV_USAGE.sub(r"\1 -0.25", page),
    "fast": lambda page: _TOKENS.sub(lambda found: f"{found[1]} {float(found[2]) * _FACTOR}", page),
    "ray": _rayed,
    "two-models": _two_models,
    "twice": _twice,
    "bare": _without_configuration,
    "percent": lambda page: _KV_USAGE.sub(lambda found: f"{found[1]} {float(found[2]) * 100}", page),
}
"""by the value of ``--metrics``"""
