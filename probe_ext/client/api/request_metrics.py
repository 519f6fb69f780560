"""The times of one request that vLLM sends in the last event (`--enable-per-request-metrics`)."""

from typing import Any

from probe_ext.client.api.api_event import ServerTimes

_MAX_MS = 1e8
"""A longer request than a day is none."""


def parse_server_times(content: dict[str, Any]) -> ServerTimes | None:
    """Return the times of an event or a body, None without any."""
    found = content.get("metrics")
    if not isinstance(found, dict):
        return None
    names = ("time_to_first_token_ms", "queue_time_ms", "mean_itl_ms")
    times = ServerTimes(*(_seconds(found.get(name)) for name in names))
    return None if times == (None, None, None) else times


def _seconds(milliseconds: object) -> float | None:
    is_number = isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool)
    if not is_number or not 0 <= milliseconds <= _MAX_MS:  # type: ignore[operator]  # false for NaN as well
        return None
    return float(milliseconds) / 1000  # type: ignore[arg-type]
