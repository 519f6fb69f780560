"""Labels for the manifest's keys and values."""

from probe_ext.report.wording import shared_sentences
from probe_ext.verdict.phrasing import formats

LABELS = {
    "run": {
        "run_id": "id, in run.json",
        "locustfile": "Locust file",
        "started_at": "started",
        "ended_at": "ended",
        "end_reason": "reason for the end",
    },
    "target": {"host": "URL", "model_from": "model chosen by", "tls_verified": "TLS certificate verified"},
    "server": {
        "url": "URL",
        "kind": "software",
        "models_error": "error listing models",
        "max_model_len": "context length, tokens",
        "metrics_url": "metrics read from",
        "running_before": "requests running before the run",
        "waiting_before": "requests waiting before the run",
    },
    "prometheus": {
        "url": "URL",
        "match": "label matchers",
        "read_at": "read at",
        "clock_offset": "clock ahead by",
    },
    "versions": {"probe_ext": "probe-ext", "locust": "Locust", "python": "Python", "platform": "system"},
    "plan": {
        "levels": "users, level by level",
        "hold": "time per level, at least",
        "settle": "settling time, excluded",
        "min_replies": "replies per user, at least",
    },
    "search": {
        "outcome": "reason for the end",
        "max_users": "upper bound, users",
        "longest": "time limit",
        "precision": "requested width, as a share of the estimate",
        "critical": "standard errors required for a proof",
    },
    "warm_up": {"most": "concurrent requests, at most", "seconds": "duration", "slowest_reply": "slowest reply"},
    "prompts": {
        "input_tokens": "requested tokens",
        "shared_prefix_tokens": "tokens of the common prefix",
        "counted_by": "tokens counted by",
    },
    "calibration": {
        "measured_at": "calibrated",
        "receive_stamps": "receive times from",
        "probe_ext": "probe-ext",
        "ttft_error_p50": "error of TTFT, median",
        "ttft_error_p99": "error of TTFT, p99",
        "ttft_error_max": "error of TTFT, maximum",
        "gap_error_p50": "error of a gap, median",
        "gap_error_p99": "error of a gap, p99",
        "gap_error_max": "error of a gap, maximum",
        "cpu_per_token": "CPU time per token",
        "cpu_per_reply": "CPU time per reply",
        "reads_unresolved": "reads with several tokens (fraction)",
        "lag_p99": "receive lag, p99",
        "overdue_p99": "receive lag without deliberate coalescing, p99",
        "tokens_per_second_on_time": "tokens/s per worker without delay",
        "open_streams_on_time": "open streams per worker without delay",
        "tokens_per_second": "tokens/s per worker, maximum",
        "open_streams": "open streams per worker, maximum",
        "limits_of_target": "limits set by the calibration's own server",
        "reading_path": "sockets read by",
    },
    "worker": {
        "clock_offset": "clock offset",
        "clock_error": "clock error, at most",
        "clock_drift": "clock drift",
        "away": "out of contact",
        "started": "replies started",
        "rows": "replies recorded",
        "last_word": "final report received",
        "lost_at": "lost, last contact at",
        "left_at": "left at",
        "cpu_seconds": "CPU time",
        "loop_lag_max": "longest delay of the event loop",
        "receive_stamps": "receive times from",
        "reading_path": "sockets read by",
    },
}
"""By group of the manifest; other keys are shown with spaces for underscores."""
VALUES = {
    ("end_reason", "levels_done"): "all levels were held",
    ("end_reason", "search_done"): "the search ended",
    ("end_reason", "run_time"): "the run time was over",
    ("end_reason", "scenario_done"): "the scenario ended",
    ("end_reason", "stopped"): "stopped by the user",
    ("end_reason", "workers_lost"): "the last worker was lost",
    ("end_reason", "workers_left"): "the last worker left",
    ("end_reason", "prompts_changed"): "a prompt file was changed",
    ("end_reason", "interrupted"): "interrupted with Ctrl-C",
    ("end_reason", "terminated"): "terminated by a signal",
    ("outcome", "precise"): "the interval is as narrow as requested",
    ("outcome", "widened"): "the interval was as narrow as requested; replies that ended later widened it",
    ("outcome", "max_users"): "the upper bound was reached",
    ("outcome", "time"): "the time limit was reached",
    ("outcome", "unreachable"): "users could not be started",
    ("outcome", "other_load"): "others used the server",
    ("model_from", "option"): "--model",
    ("model_from", "server"): "the server's list (its first)",
    ("metrics", "ok"): "read",
    ("metrics", "off"): "not asked for",
    ("counted_by", "tokenize"): "the server's tokenizer",
    ("counted_by", "usage"): "the server's usage figures",
    ("counted_by", "characters"): "their length in characters (estimate)",
    ("receive_stamps", "kernel"): "the kernel",
    ("receive_stamps", "read"): "the program's reads",
    ("reading_path", "native"): "the C extension",
    ("reading_path", "python"): "Python",
}
SECONDS_KEYS = {
    *("hold", "settle", "longest", "search_time", "drain", "patience", "metrics_every", "duration", "seconds"),
    "think_time",
    *("clock_offset", "clock_error", "cpu_seconds", "slowest_reply", "loop_lag_max", "lost_at", "left_at"),
    *("ttft_error_p50", "ttft_error_p99", "ttft_error_max", "gap_error_p50", "gap_error_p99", "gap_error_max"),
    *("cpu_per_token", "cpu_per_reply", "lag_p99", "overdue_p99"),
    *("timeout_connect", "timeout_first", "timeout_gap", "timeout_total"),
}
COUNT_KEYS = {
    *("started", "rows", "max_model_len"),
    *("tokens_per_second_on_time", "tokens_per_second", "open_streams_on_time", "open_streams"),
}


def label(group: str, key: str) -> str:
    """Return the label of a manifest key; options keep their command-line name."""
    if group == "options":
        return "--" + key.replace("_", "-")
    return LABELS.get(group, {}).get(key, key.replace("_", " "))


def value(key: str, content: object) -> str:
    """Format the value of a manifest key, with its unit."""
    if isinstance(content, (int, float)) and not isinstance(content, bool):
        if key in SECONDS_KEYS:
            return f"{content:g} s" if content < 120 and content == round(content) else formats.seconds(content)
        if key in COUNT_KEYS:
            return formats.count(content)
    if isinstance(content, str):
        if (key, content) in VALUES:
            return VALUES[key, content]
        if key in {"started_at", "ended_at"}:
            return shared_sentences.when(content)
    return shared_sentences.plain(content)
