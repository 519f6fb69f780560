"""The unit of each column of the frames; columns without one are names, flags or plain numbers."""

from collections.abc import Iterable, Mapping, Sequence

_REPLIES: Mapping[str, Sequence[str]] = {
    "s": (
        *("due", "late", "sent", "headers", "first", "first_visible", "last", "end", "connect", "tls", "resolve"),
        *("longest_gap", "gap_start", "longest_gap_visible", "lag_max", "held_max"),
        *("server_ttft", "server_queue", "server_itl", "ttft", "first_word"),
    ),
    "tokens": (
        *("tokens_in", "tokens_cached", "tokens_out", "tokens_first", "tokens_visible", "tokens_reasoning"),
        *("gap_tokens", "tokens_held", "tokens_claimed", "tokens_meant", "tokens_shared"),
    ),
    "s per token": ("tpot", "tpot_visible"),
    "tokens/s": ("decode_rate",),
    "bytes": ("text_bytes",),
}
_LEVELS: Mapping[str, Sequence[str]] = {
    "s": (
        *("t_start", "t_end", "seconds_needed", "ttft_p50", "ttft_p95", "ttft_p99", "ttft_visible_p95", "way_p50"),
        *("server_ttft_p50", "first_word_p50", "first_word_p95", "longest_gap_p95", "longest_gap_max"),
    ),
    "fraction": (
        *("served_share", "served_share_low", "served_share_high", "served_share_fit", "broken_share"),
        *("broken_share_high", "slo_attainment", "fluidity_index", "fluid_share", "kv_usage_max"),
    ),
    "tokens/s": ("decode_rate_p50", "decode_rate_p05", "total_tokens_per_s"),
    "tokens": ("tokens_out_p50",),
    "1/s": ("rate", "sent_rate", "goodput_rps"),
}
_UNITS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "replies": _REPLIES,
    "levels": _LEVELS,
    "gaps": {"s": ("start", "end"), "tokens": ("tokens_before", "tokens_together")},
    "users": {"s": ("t",), "1/s": ("rate",)},
    "server": {"s": ("t", "width")},
    "gpu": {"s": ("t",)},
    "pauses": {"s": ("start", "end"), "fraction": ("kv_usage",)},
    "tokens": {"s": ("t", "seconds"), "tokens": ("tokens",)},
}


def units_of(table: str, columns: Iterable[str]) -> dict[str, str]:
    """Return the unit of each column of a table that has one."""
    units = {name: unit for unit, names in _UNITS[table].items() for name in names}
    return {name: units[name] for name in columns if name in units}
