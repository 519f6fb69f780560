"""How the replay of a trace fared: how much of it was sent, how late, and what its prompts shared.

*Behind* is `sent − due`: how much later than recorded (at the speed of its pass) a request was sent, because no
connection was free, because the turn before it in its session had not ended, or because the load generator was late.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import WARM_UP
from probe_ext.verdict.evidence.columns import Bools, Floats, is_any, numbers
from probe_ext.verdict.evidence.evidence import Columns, percentiles
from probe_ext.verdict.evidence.manifest_view import mapping, mappings, number
from probe_ext.verdict.phrasing.formats import percent, seconds, span
from probe_ext.verdict.phrasing.plurals import listed, things, was_or_were
from probe_ext.verdict.values.judgement import TraceReplay

NOTICED_S = 0.001
"""A request that is sent less than this after its time is not called late."""


def replayed_trace(manifest: Mapping[str, Any], replies: Columns) -> TraceReplay | None:
    """Return what was replayed; None of a run without a trace, or whose manifest does not describe it."""
    about = mapping(mapping(manifest.get("workload")).get("trace"))
    requests, sessions, lasted = (number(about, key) for key in ("requests", "sessions", "seconds"))
    if requests is None or sessions is None or lasted is None:
        return None
    own = ~is_any(replies, "scenario", {WARM_UP})
    unsent = own & is_any(replies, "outcome", {Outcome.NOT_SENT})
    speeds = tuple(speed for one in mappings(about.get("passes")) if (speed := number(one, "speed")) is not None)
    meant, found = _sharing(replies, own)
    behind, late = _behind(replies, own) if speeds else (np.array([]), np.array([]))
    left_out = sum(int(value) for value in mapping(about.get("left_out")).values() if isinstance(value, int))
    (median, p95), worst = percentiles(behind, ("p50", "p95")), float(behind.max()) if len(behind) else None
    return TraceReplay(
        form=str(about.get("form") or "unknown"),
        requests=int(requests),
        sessions=int(sessions),
        seconds=lasted,
        left_out=left_out,
        speeds=speeds,
        replayed=int(own.sum()),
        not_sent=int(unsent.sum()),
        shared_meant=meant,
        shared_found=found,
        behind_median=median,
        behind_p95=p95,
        behind_max=worst,
        generator_late_max=float(late.max()) if len(late) else None,
        sentence=" ".join(
            [
                _what(int(own.sum()), int(requests), lasted, speeds),
                *_shared_words(meant, found),
                *_behind_words(median, p95, worst, int(unsent.sum())),
                *([f"{left_out:,} of the trace could not be replayed."] if left_out else []),
            ]
        ),
    )


def _sharing(replies: Columns, own: Bools) -> tuple[float | None, float | None]:
    """Return both shares, of the replies for which the server told what it found; else of all."""
    meant, tokens = numbers(replies, "tokens_shared"), numbers(replies, "tokens_in")
    cached = numbers(replies, "tokens_cached")
    known = own & ~np.isnan(meant) & (tokens > 0)
    told = known & ~np.isnan(cached)
    counted = told if told.any() else known
    if not counted.any():
        return None, None
    total = float(tokens[counted].sum())
    found = float(np.minimum(cached, tokens)[counted].sum()) / total if told.any() else None
    return float(np.minimum(meant, tokens)[counted].sum()) / total, found


def _behind(replies: Columns, own: Bools) -> tuple[Floats, Floats]:
    """Return by how many seconds each request was sent late, and what of it the load generator caused."""
    sent, due, late = (numbers(replies, name) for name in ("sent", "due", "late"))
    known = own & ~np.isnan(sent) & ~np.isnan(due)
    return np.clip((sent - due)[known], 0.0, None), np.clip(np.nan_to_num(late)[known], 0.0, None)


def _what(replayed: int, requests: int, lasted: float, speeds: tuple[float, ...]) -> str:
    trace = f"a trace of {things(requests, 'request')}{f' over {span(lasted)}' if lasted else ''}"
    if not speeds:
        return f"Users took the sessions of {trace} in turn: {things(replayed, 'request')} in all."
    how = "at its recorded times" if speeds == (1.0,) else f"at {listed([f'{one:g}×' for one in speeds], 8)} its speed"
    return f"{things(replayed, 'request')} of {trace} {was_or_were(replayed)} due {how}."


def _shared_words(meant: float | None, found: float | None) -> list[str]:
    if meant is None:
        return []
    said = f"Of the prompts' tokens, {percent(meant)} were in earlier prompts of the trace as well"
    return [f"{said}; the server found {percent(found)} in its prefix cache."] if found is not None else [f"{said}."]


def _behind_words(median: float | None, p95: float | None, worst: float | None, unsent: int) -> list[str]:
    said = []
    if worst is not None and worst < NOTICED_S:
        said.append("Every request was sent on time.")
    elif worst is not None:
        usual = [] if median is None else [f"Half of the requests were sent within {seconds(median)} of their time"]
        usual += [] if p95 is None else [f"95 % within {seconds(p95)}"]
        before = f"{', '.join(usual)}; the" if usual else "The"
        said.append(f"{before} latest was {seconds(worst)} behind.")
    if unsent:
        counts = "counts" if unsent == 1 else "count"
        said.append(f"{things(unsent, 'request')} could not be sent in time, and {counts} as broken.")
    return said
