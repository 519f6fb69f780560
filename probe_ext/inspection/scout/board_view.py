"""The leaderboard in words: the cells that terminal, page and lines share, and the JSON document."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext import __version__
from probe_ext.inspection.scout.leaderboard import Row, State, configuration, security
from probe_ext.inspection.scout.rolling_window import Outage
from probe_ext.measure.safe_text import printable, safe_text
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things

SCHEMA = 1
_MAX_NAME, _MAX_ERROR = 40, 80

TimeOf = Callable[[float], str]
"""Puts a moment of the probes' clock into words."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One line below a server."""

    kind: str
    """`cheat`, `count`, `outage`, `error`, `security` or `note`"""
    text: str


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One server, as it is shown. All texts are printable."""

    rank: str
    url: str
    model: str
    rps: str
    tokens_per_s: str
    ttft_p50: str
    ttft_p95: str
    errors: str
    up: bool | None
    remarks: tuple[Remark, ...]

    @property
    def state(self) -> str:
        """`DOWN`, `cheats?` or `up`; empty before the first probe."""
        if self.up is False:
            return "DOWN"
        if any(remark.kind == "cheat" for remark in self.remarks):
            return "cheats?"
        return "up" if self.up else ""


def board(rows: Sequence[Row], time_of: TimeOf, window: float) -> list[BoardRow]:
    """Return the board's rows in words."""
    return [_row(row, time_of, window) for row in rows]


def _row(row: Row, time_of: TimeOf, window: float) -> BoardRow:
    state, figures = row.state, row.state.figures
    config = configuration(state.server)
    return BoardRow(
        rank=str(row.rank) if row.rank else formats.DASH,
        url=printable(state.url),
        model=safe_text(config["model"] or formats.DASH, length=_MAX_NAME),
        rps=formats.rate(figures.rps),
        tokens_per_s=formats.rate(figures.tokens_per_s),
        ttft_p50=formats.seconds(figures.ttft_p50),
        ttft_p95=formats.seconds(figures.ttft_p95),
        errors=formats.percent(figures.error_rate),
        up=row.up,
        remarks=(*_signs(state), *_counts(state), *_outages(state, time_of, window), *_error(state)),
    )


def _signs(state: State) -> list[Remark]:
    return [Remark("cheat", f"sign of {_named(sign.name)}: {sign.evidence}") for sign in state.suspicion.signs]


def _counts(state: State) -> list[Remark]:
    evidence = state.token_check.evidence
    return [Remark("count", f"token counts: {evidence}")] if evidence else []


def _unchecked(state: State) -> list[Remark]:
    if state.token_check.source or not state.figures.tokens_per_s:
        return []
    why = "neither a counter of the engine nor a tokenizer settles it"
    return [Remark("note", f"token counts: not checked: {why}")]


def _named(name: str) -> str:
    return f"a {name}" if name == "response cache" else name


def _outages(state: State, time_of: TimeOf, window: float) -> list[Remark]:
    return [Remark("outage", _outage(outage, time_of, window)) for outage in state.outages]


def _outage(outage: Outage, time_of: TimeOf, window: float) -> str:
    if outage.until is None or outage.leaves is None:
        return f"down since {time_of(outage.since)}"
    lasted = outage.until - outage.since
    share = formats.percent(min(1.0, lasted / window))
    return (
        f"was down for {formats.span(lasted)} from {time_of(outage.since)}: {share} of the window of "
        f"{formats.span(window)}; its errors leave the window at {time_of(outage.leaves)}"
    )


def _error(state: State) -> list[Remark]:
    last = state.last
    if last is None or last.error is None:
        return []
    failed = last.sent - last.answered
    why = safe_text(last.error, length=_MAX_ERROR)
    return [Remark("error", f"last probe: {failed} of {things(last.sent, 'request')} failed: {why}")]


def notes(state: State) -> list[Remark]:
    """Return what is shown once, and not on the live board: security findings, and what could not be tested."""
    return [
        *(Remark("security", text) for text in security(state)),
        *(Remark("note", text) for text in state.suspicion.notes if state.figures.rps),
        *_unchecked(state),
    ]


def document(rows: Sequence[Row], time_of: TimeOf, window: float) -> dict[str, Any]:
    """Return the JSON document; its keys are described in docs/scout.md."""
    return {
        "schema": SCHEMA,
        "probe_ext": __version__,
        "window_seconds": window,
        "servers": [_server(row, time_of) for row in rows],
    }


def _server(row: Row, time_of: TimeOf) -> dict[str, Any]:
    state, figures = row.state, row.state.figures
    return {
        "rank": row.rank,
        "url": state.url,
        "up": row.up,
        "configuration": configuration(state.server),
        "figures": {
            "probes": figures.probes,
            "requests": figures.requests,
            "error_rate": figures.error_rate,
            "rps": figures.rps,
            "tokens_per_s": figures.tokens_per_s,
            "ttft_p50": figures.ttft_p50,
            "ttft_p95": figures.ttft_p95,
        },
        "last_error": state.last.error if state.last else None,
        "outages": [
            {
                "since": time_of(outage.since),
                "until": None if outage.until is None else time_of(outage.until),
                "leaves_window": None if outage.leaves is None else time_of(outage.leaves),
            }
            for outage in state.outages
        ],
        "signs": [{"name": sign.name, "evidence": sign.evidence} for sign in state.suspicion.signs],
        "notes": list(state.suspicion.notes),
        "token_counts": {"factor": state.token_check.factor, "source": state.token_check.source},
        "open_pages": [
            {"path": page.path, "gives_away": page.gives_away, "secret": page.secret} for page in state.pages
        ],
        "answers_without_key": bool(figures.rps) and not state.with_key,
    }
