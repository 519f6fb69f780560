"""The leaderboard: one row per server, by rank. Pure: states in, rows out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from probe_ext.access.known_server import KnownServer
from probe_ext.inspection.scout.cheats import Suspicion
from probe_ext.inspection.scout.exposure import OpenPage
from probe_ext.inspection.scout.rolling_window import Outage, ProbeResult, WindowFigures
from probe_ext.inspection.scout.token_check import TokenCheck

_QUANTISATIONS = (
    "awq",
    "gptq",
    "fp8",
    "nvfp4",
    "mxfp4",
    "int4",
    "int8",
    "w4a16",
    "w8a8",
    "q4_k",
    "q5_k",
    "q8_0",
    "bnb",
)


@dataclass(frozen=True, slots=True)
class State:
    """One server at one moment."""

    url: str
    server: KnownServer | None
    pages: tuple[OpenPage, ...]
    with_key: bool
    """whether requests were sent with a key"""
    figures: WindowFigures
    last: ProbeResult | None
    outages: tuple[Outage, ...]
    suspicion: Suspicion
    token_check: TokenCheck = field(default_factory=TokenCheck)


@dataclass(frozen=True, slots=True)
class Row:
    """One server on the board."""

    rank: int | None
    """None: nothing was answered in the window"""
    state: State

    @property
    def up(self) -> bool | None:
        """Whether the last probe was answered; None before the first."""
        return None if self.state.last is None else not self.state.last.down


def ranked(states: Sequence[State]) -> list[Row]:
    """Return the rows: by tokens/s less the share of failed requests, servers without answers last."""
    order = sorted(states, key=lambda state: (-state.figures.score, state.url))
    rank, rows = 0, []
    for state in order:
        counted = bool(state.figures.rps)
        rank += counted
        rows.append(Row(rank if counted else None, state))
    return rows


def configuration(server: KnownServer | None) -> dict[str, Any]:
    """Return what a server says about itself; None where it does not."""
    cache = server.cache if server else {}
    return {
        "kind": server.kind if server else None,
        "version": server.version if server else None,
        "model": server.model if server else None,
        "models": len(server.models) if server and server.models is not None else None,
        "quantisation": _by_name(server.model) if server and server.model else None,
        "context_tokens": server.max_model_len if server else None,
        "kv_blocks": cache.get("num_gpu_blocks"),
        "block_size": cache.get("block_size"),
        "kv_tokens": cache.get("kv_tokens"),
        "kv_cache_dtype": cache.get("cache_dtype"),
        "prefix_caching": cache.get("enable_prefix_caching"),
        "gpu_memory_utilization": cache.get("gpu_memory_utilization"),
        "slots": cache.get("slots"),
        "metrics": "open" if server and server.metrics_error is None else server.metrics_error if server else None,
    }


def _by_name(model: str) -> str | None:
    """Return the quantisation that a model's name mentions; servers rarely tell it themselves."""
    lower = model.lower()
    return next((name for name in _QUANTISATIONS if name in lower), None)


def security(state: State) -> list[str]:
    """Say what is open without a key: what may hold secrets first, then requests, then configuration."""
    lines = [f"close {page.path}: it shows {page.gives_away}" for page in state.pages if page.secret]
    if not state.with_key and state.figures.rps:
        lines.append("it answers requests without a key: whoever reaches it can use it")
    pages = [f"{page.path} ({page.gives_away})" for page in state.pages if not page.secret]
    return [*lines, *([f"open without a key: {'; '.join(pages)}"] if pages else [])]
