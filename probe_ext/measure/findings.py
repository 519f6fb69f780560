"""Names of all findings on a run's validity, and the form in which a live run records them in `run.json`."""

from typing import Any, Literal, get_args

FindingName = Literal[
    "accounted",
    "api_key",
    "arrivals",
    "client_faults",
    "clocks",
    "cold_user_cache",
    "cold_user_output",
    "cold_user_prompts",
    "disk",
    "drift",
    "ended",
    "engine_shares",
    "equal_failures",
    "files",
    "gpu_metrics",
    "held_back",
    "held_in_events",
    "in_order",
    "late_starts",
    "level_reached",
    "levels",
    "locust_counts",
    "loop_lag",
    "merged",
    "messages",
    "model_listed",
    "model_vanished",
    "not_streamed",
    "other",
    "other_load",
    "output_lengths",
    "own_machine",
    "planned_levels",
    "prompt_cache",
    "prompt_files",
    "prompt_lengths",
    "prompt_repeats",
    "reach",
    "receive_lag",
    "request_form",
    "search",
    "server_gone",
    "server_metrics",
    "server_replies",
    "server_restarted",
    "server_tokens",
    "steady",
    "still_warming",
    "target",
    "thinking_cut",
    "token_source",
    "typing_known",
    "unresolved_reads",
    "usage",
    "worker_cpu",
    "worker_disk",
    "workers",
]
"""In alphabetical order; docs/checks.md explains each, and mypy checks every use."""

FINDING_NAMES: tuple[FindingName, ...] = get_args(FindingName)

FindingState = Literal["pass", "fail", "unproven"]


def recorded_finding(
    check: FindingName, why: str, advice: str, *, state: FindingState = "fail", invalidates: bool = False
) -> dict[str, Any]:
    """Return a finding in the shape of `run.json` and `capacity.json`."""
    return {"check": check, "state": state, "invalidates": invalidates, "why": why, "advice": advice}
