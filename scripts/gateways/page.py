"""Put the measured tables into the page, whose text is in page.md."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from probe_ext.client.reply import Reply
from scripts.gateways.measure import Arrival

_TEMPLATE = Path(__file__).with_name("page.md")


@dataclass(frozen=True)
class Replayed:
    """What one proxy did to the recorded streams."""

    changed: Sequence[str]
    """names of recordings whose outcome, text or tokens changed"""
    mistaken: Sequence[str]
    """those that count as complete all the same"""
    streams: int
    later_s: float
    whole: int
    """streams whose tokens all arrived in one burst, though not without the proxy"""


def outcome_of(reply: Reply) -> tuple[str, str, str, int | None]:
    """Return what a proxy must not change."""
    return str(reply.outcome), reply.text, reply.reasoning, reply.tokens_out


def page(loads: Mapping[tuple[str, str], Arrival], recorded: Mapping[tuple[str, str], Replayed]) -> str:
    """Return the page; keys are the name with version, and the configuration."""
    return _TEMPLATE.read_text(encoding="utf-8").format(
        release=platform.release().split("-")[0],
        python=platform.python_version(),
        loads="".join(_load_row(*key, arrival) for key, arrival in loads.items()),
        recorded="".join(_recorded_row(*key, replayed) for key, replayed in recorded.items()),
    )


def _load_row(name: str, settings: str, one: Arrival) -> str:
    said = ", ".join(f"`{check}`" for check in one.said) or "nothing"
    said = said if one.replies else one.sentence
    ttft = "–" if one.ttft_s is None else f"{1000 * one.ttft_s:.0f} ms"
    typing = "–" if one.typing is None else f"{one.typing:.0f} tokens/s"
    figures = [_figure(one.per_segment, 1), _figure(one.burst, 0)]
    return f"| {name} | {settings} | {one.outcomes} | {ttft} | {typing} | {' | '.join(figures)} | {said} |\n"


def _recorded_row(name: str, settings: str, one: Replayed) -> str:
    changed = ", ".join(one.changed) or "none"
    return f"| {name} | {settings} | {one.streams} | {changed} | {1000 * one.later_s:.0f} ms | {one.whole} |\n"


def _figure(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:.{decimals}f}"
