"""The exposition matches vLLM's: every series of a recorded server, with its type, labels and bucket edges."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sim_helpers import make_request, simulate, tiny

from probe_ext.sim.metrics.vllm_metrics import Metrics

RECORDED = json.loads((Path(__file__).parents[1] / "fixtures" / "vllm_0.32.0_series.json").read_text())["series"]
VALUE_LABELS = ("le", "source", "finished_reason", "reason", "sleep_state")


def observed_metrics(requests: int = 3, **changes: Any) -> tuple[Metrics, Any]:
    profile = replace(tiny(400, **changes), max_model_len=4096)
    run = simulate(profile, [make_request(n, 0.1 * n) for n in range(1, requests + 1)])
    metrics = Metrics(profile, 'the "model"', 1_700_000_000.0)
    for step in run.steps:
        metrics.observe_step(step)
    for _ in range(requests):
        metrics.observe_parameters(5, 1)
        metrics.count_response("POST", "/v1/completions", 200)
    return metrics, run


def families(metrics: Metrics) -> dict[str, Any]:
    exposed: dict[str, Any] = {}
    for family in text_string_to_metric_families(metrics.render()):
        for sample in family.samples:
            entry = exposed.setdefault(sample.name, {"type": family.type, "labels": set(), "values": defaultdict(list)})
            entry["labels"] |= {frozenset(sample.labels)}
            for label in VALUE_LABELS:
                if label in sample.labels and sample.labels[label] not in entry["values"][label]:
                    entry["values"][label].append(sample.labels[label])
    return exposed


@pytest.fixture(scope="module")
def exposed() -> dict[str, Any]:
    return families(observed_metrics()[0])


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_a_recorded_series_is_exposed_identically(name: str, exposed: dict[str, Any]) -> None:
    assert exposed[name]["type"] == RECORDED[name]["type"]
    assert exposed[name]["labels"] == {frozenset(RECORDED[name]["labels"])}
    for label in VALUE_LABELS:
        assert exposed[name]["values"].get(label) == RECORDED[name].get(label)


def test_no_vllm_series_is_exposed_that_vllm_does_not_have(exposed: dict[str, Any]) -> None:
    assert {name for name in exposed if name.startswith("vllm:")} <= set(RECORDED)


def value(metrics: Metrics, name: str, **labels: str) -> float:
    for family in text_string_to_metric_families(metrics.render()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    raise AssertionError(f"{name} {labels} is not exposed")


def test_values_match_the_run() -> None:
    metrics, run = observed_metrics()
    finished = run.finished.values()
    assert value(metrics, "vllm:prompt_tokens_total") == 24
    assert value(metrics, "vllm:generation_tokens_total") == 15
    assert value(metrics, "vllm:request_success_total", finished_reason="length") == 3
    assert value(metrics, "vllm:time_to_first_token_seconds_count") == 3
    ttfts = sum(done.first - done.arrival for done in finished)
    assert value(metrics, "vllm:time_to_first_token_seconds_sum") == pytest.approx(ttfts)
    assert value(metrics, "vllm:inter_token_latency_seconds_count") == 12
    decode_times = sum(done.last - done.first for done in finished)
    assert value(metrics, "vllm:inter_token_latency_seconds_sum") == pytest.approx(decode_times)
    assert value(metrics, "vllm:request_decode_time_seconds_sum") == pytest.approx(decode_times)
    assert value(metrics, "vllm:iteration_tokens_total_sum") == 24 + 15
    assert value(metrics, "vllm:num_requests_running") == 0
    assert value(metrics, "vllm:cache_config_info", num_gpu_blocks="401", block_size="4") == 1
    assert value(metrics, "vllm:num_requests_running", model_name='the "model"') == 0
    assert value(metrics, "vllm:e2e_request_latency_seconds_bucket", le="+Inf") == 3


def test_a_one_token_reply_counts_zero_as_time_per_output_token() -> None:
    metrics = Metrics(tiny(), "m", 0.0)
    for step in simulate(tiny(), [make_request(1, reply=1)]).steps:
        metrics.observe_step(step)
    assert value(metrics, "vllm:request_time_per_output_token_seconds_count") == 1
    assert value(metrics, "vllm:request_time_per_output_token_seconds_sum") == 0


def test_lateness_is_exposed() -> None:
    metrics = Metrics(tiny(), "m", 0.0)
    metrics.observe_lateness(0.003)
    metrics.observe_lateness(-1.0)
    assert value(metrics, "probe_sim_lateness_seconds_count") == 2
    assert value(metrics, "probe_sim_lateness_seconds_bucket", le="0.005") == 2
    assert value(metrics, "probe_sim_lateness_seconds_bucket", le="0.002") == 1
    assert value(metrics, "probe_sim_lateness_max_seconds") == 0.003
