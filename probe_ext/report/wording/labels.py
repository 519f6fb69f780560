"""The manifest's keys as a reader would say them, and those of its values that are words of our own."""

from probe_ext.report.wording import common_text
from probe_ext.verdict.values import formats

LABELS = {
    "run": {
        "run_id": "name",
        "locustfile": "Locust file",
        "started_at": "started",
        "ended_at": "ended",
        "duration": "length",
        "end_reason": "it ended because",
    },
    "target": {"host": "address", "model_from": "model chosen by", "tls_verified": "certificate checked"},
    "server": {
        "url": "address",
        "kind": "software",
        "models": "models offered",
        "models_error": "models could not be listed",
        "max_model_len": "longest context, tokens",
        "metrics_url": "metrics read from",
    },
    "prometheus": {
        "url": "address",
        "match": "series chosen by",
        "read_at": "read at",
        "clock_offset": "its clock was ahead by",
    },
    "versions": {"probe_ext": "probe-ext", "locust": "Locust", "python": "Python", "platform": "system"},
    "plan": {
        "levels": "users, level by level",
        "hold": "each level held for at least",
        "settle": "settling time before it counts",
        "min_replies": "replies of each user, at least",
    },
    "search": {
        "outcome": "it ended because",
        "max_users": "users, at most",
        "longest": "time, at most",
        "alpha": "a proven end is wrong in at most (fraction)",
        "glance": "a level on the way is wrong in at most (fraction)",
        "resolution": "ends apart at most by (fraction)",
    },
    "warm_up": {"most": "requests at once, at most", "seconds": "took", "slowest_reply": "slowest reply"},
    "prompts": {
        "input_tokens": "tokens asked for",
        "shared_prefix_tokens": "tokens that all begin with",
        "counted_by": "tokens counted by",
    },
    "calibration": {
        "measured_at": "calibrated",
        "receive_stamps": "arrivals timed by",
        "probe_ext": "probe-ext",
        "ttft_error_p50": "error of the time to first token, median",
        "ttft_error_p99": "error of the time to first token, p99",
        "ttft_error_max": "error of the time to first token, at most",
        "gap_error_p50": "error of a gap, median",
        "gap_error_p99": "error of a gap, p99",
        "gap_error_max": "error of a gap, at most",
        "cpu_per_token": "processor time a token",
        "cpu_per_reply": "processor time a reply",
        "reads_unresolved": "reads that carried several tokens (fraction)",
        "lag_p99": "arrival to read, p99",
        "overdue_p99": "the same beyond what it waits on purpose, p99",
        "tokens_per_second_on_time": "tokens/s that one worker reads without delay",
        "open_streams_on_time": "open streams that one worker reads without delay",
        "tokens_per_second": "tokens/s that one worker keeps up with",
        "open_streams": "open streams that one worker keeps up with",
    },
    "worker": {
        "host": "machine",
        "clock_offset": "its clock differs by",
        "clock_error": "its replies lie on the time axis to within",
        "clock_drift": "its clock gains",
        "away": "not heard",
        "started": "replies started",
        "rows": "replies recorded",
        "last_word": "reported its end",
        "lost_at": "lost, last heard at",
        "left_at": "left at",
        "cpu_seconds": "processor time",
        "loop_lag_max": "longest stall of its own loop",
        "receive_stamps": "arrivals timed by",
    },
}
"""by group of the manifest; a key that is not here is said with its underscores as blanks"""
VALUES = {
    ("end_reason", "levels_done"): "every level was held",
    ("end_reason", "search_done"): "the search ended",
    ("outcome", "closed"): "both ends of its bracket are proven",
    ("outcome", "enclosed"): "both ends are proven, and what lies between could not be decided",
    ("outcome", "open"): "an end of its bracket could not be decided",
    ("outcome", "max_users"): "it may go no higher",
    ("outcome", "time"): "its time was over",
    ("outcome", "unreachable"): "users could not be started",
    ("end_reason", "run_time"): "the run time was over",
    ("end_reason", "scenario_done"): "the scenario was done",
    ("end_reason", "stopped"): "somebody stopped it",
    ("end_reason", "workers_lost"): "its last worker was lost",
    ("end_reason", "workers_left"): "its last worker left",
    ("end_reason", "interrupted"): "somebody pressed Ctrl-C",
    ("end_reason", "terminated"): "it was told to end",
    ("model_from", "option"): "the option --model",
    ("model_from", "server"): "the server's list, its first",
    ("metrics", "ok"): "could be read",
    ("counted_by", "tokenize"): "the server's tokenizer",
    ("counted_by", "usage"): "the server's usage figures",
    ("counted_by", "characters"): "their length in characters, roughly",
    ("receive_stamps", "kernel"): "the operating system",
    ("receive_stamps", "read"): "our own reads",
}
SECONDS = {
    *("hold", "settle", "longest", "search_time", "drain", "patience", "metrics_every", "duration", "seconds"),
    *("clock_offset", "clock_error", "cpu_seconds", "slowest_reply", "loop_lag_max", "lost_at", "left_at"),
    *("ttft_error_p50", "ttft_error_p99", "ttft_error_max", "gap_error_p50", "gap_error_p99", "gap_error_max"),
    *("cpu_per_token", "cpu_per_reply", "lag_p99", "overdue_p99"),
    *("timeout_connect", "timeout_first", "timeout_gap", "timeout_total"),
}
"""keys whose values are seconds"""
COUNTS = {
    *("started", "rows", "max_model_len"),
    *("tokens_per_second_on_time", "tokens_per_second", "open_streams_on_time", "open_streams"),
}
"""keys whose values are counted"""


def label(group: str, key: str) -> str:
    """What a key of the manifest is called; an option is called as on the command line."""
    if group == "options":
        return "--" + key.replace("_", "-")
    return LABELS.get(group, {}).get(key, key.replace("_", " "))


def value(key: str, said: object) -> str:
    """What it holds, with its unit."""
    if key in SECONDS and isinstance(said, (int, float)) and not isinstance(said, bool):
        return f"{said:g} s" if said < 120 and said == round(said) else formats.seconds(said)
    if key in COUNTS and isinstance(said, (int, float)) and not isinstance(said, bool):
        return formats.count(said)
    known = VALUES.get((key, said)) if isinstance(said, str) else None
    moment = key in {"started_at", "ended_at"} and isinstance(said, str)
    return known or (common_text.when(str(said)) if moment else common_text.plain(said))
