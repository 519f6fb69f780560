"""Conversion of metrics to canonical quantities, by engine."""

import pytest
import recordings

from probe_ext.target.metrics.cache_config import CONFIG_METRICS, cache_configuration
from probe_ext.target.metrics.catalogue import read_page
from probe_ext.target.metrics.engine_metrics import ENGINES
from probe_ext.target.metrics.metrics_text import Unreadable, parse
from probe_ext.target.metrics.quantities import QUANTITIES


def figures(text, engine="0"):
    reading = read_page(text)
    assert not isinstance(reading, Unreadable), reading
    return {f.quantity: f.value for f in reading.figures if f.engine == engine}


def kind(text):
    return read_page(text).kind


def test_every_source_has_a_known_quantity():
    assert {s.quantity for engine in ENGINES for s in engine.sources} <= set(QUANTITIES)


def test_recorded_vllm_0_32_queueing():
    text = recordings.read("vllm_metrics_0.32.0_load_queueing.txt")
    values = figures(text)
    assert kind(text) == "vllm"
    assert (values["running"], values["waiting"], values["preemptions"]) == (4, 12, 0)
    assert values["kv_usage"] == pytest.approx(0.01566, abs=1e-5)
    assert values["prefix_queries"] == values["prompt_tokens"] == 3840
    assert values["generation_tokens"] == 2985
    assert (values["requests_finished"], values["requests_aborted"], values["requests_failed"]) == (26, 0, 0)
    assert values["rejections"] == 0
    assert (values["queue_count"], values["ttft_count"]) == (26, 30)
    assert values["queue_sum"] == pytest.approx(38.97191)
    assert values["process_start"] == pytest.approx(1795215053.48)
    assert "swapped" not in values


def test_recorded_vllm_0_32_preemption():
    values = figures(recordings.read("vllm_metrics_0.32.0_load_preemption.txt"))
    assert (values["kv_usage"], values["running"], values["waiting"]) == (0.9375, 2, 6)


def test_recorded_vllm_0_11():
    values = figures(recordings.read("vllm_metrics_0.11.0.post2_load_queueing.txt"))
    assert (values["prefix_queries"], values["prefix_hits"], values["itl_count"]) == (846, 96, 694)
    assert "prompt_tokens_cached" not in values
    assert "rejections" not in values


def test_recorded_llama_server():
    text = recordings.read("llama_server_metrics_idle.txt")
    assert kind(text) == "llama.cpp"
    names = ("running", "waiting", "prompt_tokens", "prompt_tokens_cached", "generation_tokens")
    assert figures(text) == dict.fromkeys(names, 0)


OLD_VLLM = """\
# HELP vllm:gpu_prefix_cache_queries_total GPU prefix cache queries, in terms of number of queried {unit}.
vllm:gpu_prefix_cache_queries_total{{model_name="m"}} 10
# HELP vllm:gpu_prefix_cache_hits_total GPU prefix cache hits, in terms of number of cached {unit}.
vllm:gpu_prefix_cache_hits_total{{model_name="m"}} 4
vllm:gpu_cache_usage_perc{{model_name="m"}} 0.5
vllm:num_requests_swapped{{model_name="m"}} 3
vllm:time_per_output_token_seconds_sum{{model_name="m"}} 1.5
vllm:time_per_output_token_seconds_count{{model_name="m"}} 9
"""


def test_old_vllm_counts_blocks():
    values = figures(OLD_VLLM.format(unit="blocks"))
    assert (values["prefix_queries_blocks"], values["prefix_hits_blocks"]) == (10, 4)
    assert "prefix_queries" not in values
    assert (values["kv_usage"], values["swapped"], values["itl_sum"], values["itl_count"]) == (0.5, 3, 1.5, 9)


def test_newer_vllm_counts_tokens_under_the_same_name():
    values = figures(OLD_VLLM.format(unit="tokens"))
    assert (values["prefix_queries"], values["prefix_hits"]) == (10, 4)
    assert "prefix_queries_blocks" not in values


def test_prefers_the_newer_name():
    both = "vllm:gpu_cache_usage_perc 0.1\nvllm:kv_cache_usage_perc 0.2\n"
    assert figures(both) == {"kv_usage": 0.2}


def test_accepts_underscores_for_colons():
    assert figures("vllm_num_requests_running 3\n") == {"running": 3}


def test_keeps_data_parallel_engines_apart():
    text = "".join(
        f'vllm:kv_cache_usage_perc{{engine="{e}",model_name="m"}} {u}\n'
        f'vllm:num_requests_running{{engine="{e}",model_name="m"}} {r}\n'
        for e, u, r in (("0", 0.25, 3), ("1", 0.75, 5))
    )
    assert figures(text, "0") == {"kv_usage": 0.25, "running": 3}
    assert figures(text, "1") == {"kv_usage": 0.75, "running": 5}


TWO_MODELS = (
    'vllm:kv_cache_usage_perc{model_name="a"} 0.25\nvllm:kv_cache_usage_perc{model_name="b"} 0.5\n'
    'vllm:num_requests_running{model_name="a"} 1\nvllm:num_requests_running{model_name="b"} 2\n'
    "process_start_time_seconds 1.7e9\n"
)


@pytest.mark.parametrize(
    ("model", "expected", "others"),
    [
        ("a", {"kv_usage": 0.25, "running": 1, "process_start": 1.7e9}, ("b",)),
        ("b", {"kv_usage": 0.5, "running": 2, "process_start": 1.7e9}, ("a",)),
        ("an alias", {"process_start": 1.7e9}, ("a", "b")),
        (None, {"process_start": 1.7e9}, ("a", "b")),
    ],
)
def test_only_the_series_of_the_model_that_is_asked_count(model, expected, others):
    reading = read_page(TWO_MODELS, model)
    assert ({f.quantity: f.value for f in reading.figures}, reading.other_models) == (expected, others)
    assert reading.kind == "vllm"


@pytest.mark.parametrize("label", ["model", "model_id", "served_model_name"])
def test_gateways_name_the_model_in_other_labels(label):
    reading = read_page(TWO_MODELS.replace("model_name", label), "b")
    assert ({f.quantity: f.value for f in reading.figures}["running"], reading.other_models) == (2, ("a",))


def test_the_steps_of_a_pipeline_are_no_models():
    page = (
        'nv_inference_request_success{model="ensemble",version="1"} 10\n'
        'nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"} 3\n'
    )
    reading = read_page(page, "ensemble")
    assert ({f.quantity: f.value for f in reading.figures}["running"], reading.other_models) == (3, ())


def test_a_single_model_counts_whatever_its_name():
    """A served name may be an alias, and an adapter has its base model's series."""
    text = 'vllm:num_requests_running{model_name="base"} 3\n'
    assert figures(text) == {f.quantity: f.value for f in read_page(text, "my-adapter").figures} == {"running": 3}


def test_one_models_series_split_by_other_labels_are_added():
    text = 'vllm:request_success_total{model_name="a",finished_reason="stop"} 2\n'
    text += 'vllm:request_success_total{model_name="a",finished_reason="length"} 3\n'
    assert read_page(text, "a").figures[0].value == 5


@pytest.mark.parametrize(
    ("line", "quantity"),
    [
        ("vllm:kv_cache_usage_perc -0.25", "kv_usage"),
        ("vllm:kv_cache_usage_perc 57.3", "kv_usage"),
        ("vllm:kv_cache_usage_perc NaN", "kv_usage"),
        ("vllm:kv_cache_usage_perc +Inf", "kv_usage"),
        ("vllm:num_requests_running -1", "running"),
        ("vllm:num_requests_waiting 4294967295", "waiting"),
        ("vllm:generation_tokens_total -5", "generation_tokens"),
        ("vllm:generation_tokens_total 1.8446744073709552e+19", "generation_tokens"),
        ("sglang:token_usage 1.7", "kv_usage"),
        ('vllm:request_success_total{finished_reason="stop"} 9\nvllm:request_success_total{finished_reason="x"} -2',
         "requests_finished"),
    ],
)  # fmt: skip
def test_impossible_values_are_left_out_and_named(line, quantity):
    other = "sglang:num_queue_reqs 2" if line.startswith("sglang") else "vllm:prompt_tokens_total 2"
    reading = read_page(f"{line}\n{other}\n")
    assert quantity not in {figure.quantity for figure in reading.figures}
    assert [figure.quantity for figure in reading.impossible] == [quantity]
    assert any(figure.value == 2 for figure in reading.figures), "the rest of the page is used"


def test_a_fraction_just_above_one_is_rounding():
    assert figures("sglang:token_usage 1.004\n") == {"kv_usage": 1.0}


@pytest.mark.parametrize("suffix", ["_total", ""])
def test_ray_serve_puts_a_prefix_before_the_engines_names(suffix):
    text = (
        'ray_vllm_num_requests_running{engine="0",model_name="m",ReplicaId="abc"} 2\n'
        'ray_vllm_num_requests_running{engine="0",model_name="m",ReplicaId="xyz"} 3\n'
        f'ray_vllm_generation_tokens{suffix}{{engine="0",model_name="m",ReplicaId="abc"}} 70\n'
        'ray_vllm:kv_cache_usage_perc{engine="0",model_name="m",ReplicaId="abc"} 0.5\n'
    )
    assert kind(text) == "vllm"
    assert figures(text, "0@abc") == {"running": 2, "generation_tokens": 70, "kv_usage": 0.5}
    assert figures(text, "0@xyz") == {"running": 3}, "each replica has its own counters"


def test_a_series_that_is_there_twice_counts_once():
    line = 'vllm:generation_tokens_total{engine="0",model_name="m"} 70\n'
    twice = line + line.replace('engine="0",model_name="m"', 'model_name="m",engine="0"')
    assert figures(twice) == {"generation_tokens": 70}


def federated(**labels):
    given = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return (
        f'vllm:num_requests_running{{engine="0",{given}}} 3\nvllm:generation_tokens_total{{engine="0",{given}}} 100\n'
    )


@pytest.mark.parametrize("label", ["instance", "pod", "exported_instance"])
def test_servers_on_a_collected_page_are_told_apart(label):
    page = federated(**{label: "a", "job": "x"}) + federated(**{label: "b", "job": "x"})
    assert {f.engine for f in read_page(page).figures} == {"0@a", "0@b"}
    assert figures(page, "0@a") == {"running": 3, "generation_tokens": 100}


@pytest.mark.parametrize("label", ["job", "prometheus_replica", "monitor"])
def test_copies_of_a_servers_series_on_a_collected_page_count_once(label):
    page = federated(instance="a", **{label: "x"}) + federated(instance="a", **{label: "y"})
    assert figures(page, "0@a") == {"running": 3, "generation_tokens": 100}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("<html><body><h1>503 Service temporarily unavailable</h1></body></html>", "HTML"),
        ("<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>", "HTML"),
        ("<script>window.location='https://idp.example/oauth2/authorize'</script>", "a login page (HTML)"),
        ("<form><input type=password></form>", "a login page (HTML)"),
        ('{"detail":"Not authenticated"}', "JSON"),
        ("OK\n", "not Prometheus text"),
        (b"\x1f\x8b\x08\x00abc", "not UTF-8"),
        ('node_cpu_seconds_total{cpu="0"} 3\n', "no metrics of a known engine"),
        ('vllm:num_requests_running{model_name="m"} 3\nvllm:num_requests_wai', "incomplete"),
    ],
)
def test_what_answers_instead_of_metrics_is_named(body, why):
    assert why in read_page(body).why


@pytest.mark.parametrize(
    ("line", "quantity"),
    [
        ("vllm:num_requests_running 4294967295", "running"),
        ("vllm:generation_tokens_total 1.8446744073709552e+19", "generation_tokens"),
        ("vllm:kv_cache_usage_perc 37", "kv_usage"),
        ("vllm:kv_cache_usage_perc +Inf", "kv_usage"),
        ("vllm:generation_tokens_total -5", "generation_tokens"),
        ("vllm:num_requests_waiting NaN", "waiting"),
        ("sglang:token_usage -0.5", "kv_usage"),
        ("llamacpp:requests_processing -1", "running"),
    ],
)
def test_values_that_no_server_can_have_of_any_engine(line, quantity):
    reading = read_page(line + "\n")
    assert (reading.figures, [figure.quantity for figure in reading.impossible]) == ((), [quantity])


def test_splits_endings_by_finish_reason():
    reasons = {"stop": 1, "length": 2, "abort": 4, "error": 8, "repetition": 16}
    text = "".join(f'vllm:request_success_total{{finished_reason="{r}"}} {n}\n' for r, n in reasons.items())
    assert figures(text) == {"requests_finished": 19, "requests_aborted": 4, "requests_failed": 8}


def test_nan_is_missing():
    text = 'vllm:num_requests_running{model_name="a"} 1\nvllm:num_requests_running{model_name="b"} NaN\n'
    assert figures(text + "vllm:num_requests_waiting 2\n") == {"waiting": 2}


def test_process_metrics_alone_are_not_an_engine():
    assert read_page("process_start_time_seconds 1.7e9\n") == Unreadable("no metrics of a known engine")
    assert read_page("go_goroutines 7\n") == Unreadable("no metrics of a known engine")


def test_counter_creation_time_replaces_the_process_start():
    values = figures("vllm:num_requests_running 0\nvllm:generation_tokens_created 1.7e9\n")
    assert values["process_start"] == 1.7e9


def test_recognizes_a_simulator_with_vllm_names():
    assert kind("vllm:num_requests_running 1\nvllm:max_num_generation_tokens_count 3\n") == "llm-d-sim"


SGLANG = """\
sglang:num_running_reqs{model_name="m",engine_type="unified",tp_rank="0",pp_rank="0",dp_rank="0",priority=""} 5
sglang:num_running_reqs{model_name="m",engine_type="unified",tp_rank="0",pp_rank="0",dp_rank="0",priority="1"} 5
sglang:num_running_reqs{model_name="m",engine_type="unified",tp_rank="1",pp_rank="0",dp_rank="0",priority=""} 5
sglang:num_running_reqs{model_name="m",engine_type="unified",tp_rank="2",pp_rank="0",dp_rank="1",priority=""} 7
sglang:num_queue_reqs{model_name="m",tp_rank="0"} 2
sglang:token_usage{model_name="m",tp_rank="0"} 0.42
sglang:full_token_usage{model_name="m",tp_rank="0"} 0.4187
sglang:prompt_tokens_total{model_name="m",is_streaming="True"} 100
sglang:prompt_tokens_total{model_name="m",is_streaming="False"} 50
sglang:cached_tokens_total{model_name="m",cache_source="device"} 30
sglang:cached_tokens_total{model_name="m",cache_source="host"} 10
sglang:cached_tokens_total{model_name="m",cache_source="total"} 40
sglang:generation_tokens_total{model_name="m"} 70
sglang:num_requests_total{model_name="m"} 9
sglang:num_aborted_requests_total{model_name="m"} 1
sglang:num_retracted_requests_total{model_name="m",tp_rank="0"} 2
sglang:time_to_first_token_seconds_sum{model_name="m"} 3.5
sglang:time_to_first_token_seconds_count{model_name="m"} 9
sglang:queue_time_seconds_sum{model_name="m",tp_rank="0"} 1.5
sglang:queue_time_seconds_count{model_name="m",tp_rank="0"} 9
"""


def test_sglang():
    values = figures(SGLANG)
    assert kind(SGLANG) == "sglang"
    assert values["running"] == 5, "without further ranks and parts of the total"
    assert figures(SGLANG, "1") == {"running": 7}
    assert (values["waiting"], values["kv_usage"], values["preemptions"]) == (2, 0.42, 2)
    assert (values["prompt_tokens"], values["prefix_queries"]) == (150, 150)
    assert (values["prompt_tokens_cached"], values["prefix_hits"]) == (40, 40)
    assert (values["requests_finished"], values["requests_aborted"]) == (9, 1)
    assert (values["ttft_sum"], values["queue_count"]) == (3.5, 9)


def test_llamacpp_prompt_tokens_include_cached_tokens_if_known():
    old = "llamacpp:prompt_tokens_total 60\nllamacpp:kv_cache_usage_ratio 0.3\n"
    assert figures(old) == {"prompt_tokens": 60, "kv_usage": 0.3}
    new = "llamacpp:prompt_tokens_total 60\nllamacpp:prompt_tokens_cached_total 40\nllamacpp:requests_deferred 2\n"
    assert figures(new) == {"prompt_tokens": 100, "prompt_tokens_cached": 40, "waiting": 2}


TGI = """\
tgi_batch_current_size 4
tgi_queue_size 6
tgi_request_count 30
tgi_request_success 20
tgi_request_failure{err="overloaded"} 3
tgi_request_failure{err="validation"} 2
tgi_request_generated_tokens_sum 900
tgi_request_input_length_sum 1200
tgi_request_queue_duration_sum 8.5
tgi_request_queue_duration_count 20
tgi_batch_current_max_tokens 5000
"""


def test_tgi():
    assert kind(TGI) == "tgi"
    assert figures(TGI) == {
        "running": 4, "waiting": 6, "requests_finished": 20, "rejections": 3, "requests_failed": 2,
        "generation_tokens": 900, "prompt_tokens": 1200, "queue_sum": 8.5, "queue_count": 20,
    }  # fmt: skip


TRTLLM = """\
trtllm_num_requests_running{model_name="m"} 2
trtllm_num_requests_waiting{model_name="m"} 1
trtllm_kv_cache_utilization 0.5
trtllm_request_success_total{finished_reason="stop"} 7
trtllm_time_to_first_token_seconds_sum 1
trtllm_time_to_first_token_seconds_count 7
"""

TRITON = """\
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"} 5
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 64
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm"} 0.6
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="tensorrt_llm"} 600
nv_inference_request_success{model="ensemble"} 9
nv_inference_request_success{model="tensorrt_llm"} 9
"""

LMDEPLOY = """\
lmdeploy:num_requests_waiting{engine="0"} 3
lmdeploy:num_api_requests_waiting{engine="0"} 4
lmdeploy:request_success_total{finished_reason="ResponseType.FINISH"} 5
lmdeploy:request_success_total{finished_reason="ResponseType.INTERNAL_ENGINE_ERROR"} 1
lmdeploy:iter_token_latency_sum 2
lmdeploy:iter_token_latency_count 8
"""

NIM = """\
num_requests_running{model_name="m"} 1
num_requests_waiting{model_name="m"} 2
gpu_cache_usage_perc{model_name="m"} 0.1
prompt_tokens_total{model_name="m"} 8
generation_tokens_total{model_name="m"} 9
"""


def test_tensorrt_llm():
    assert kind(TRTLLM) == "tensorrt-llm"
    values = {"running": 2, "kv_usage": 0.5, "requests_finished": 7, "ttft_sum": 1, "ttft_count": 7, "waiting": 1}
    assert figures(TRTLLM) == values


def test_triton_counts_each_request_once():
    assert kind(TRITON) == "triton"
    assert figures(TRITON) == {"running": 5, "waiting": 3, "kv_usage": 0.6, "requests_finished": 9}


def test_lmdeploy():
    assert kind(LMDEPLOY) == "lmdeploy"
    values = {"waiting": 7, "requests_finished": 5, "requests_failed": 1, "itl_sum": 2, "itl_count": 8}
    assert figures(LMDEPLOY) == values


def test_nim():
    assert kind(NIM) == "nim"
    values = {"running": 1, "waiting": 2, "kv_usage": 0.1, "prompt_tokens": 8, "generation_tokens": 9}
    assert figures(NIM) == values


def test_vllms_rust_frontend_lacks_its_configuration_and_process():
    """The same names, ended by `# EOF`."""
    page = recordings.read("vllm_metrics_0.32.0_load_queueing.txt").decode()
    kept = [line for line in page.splitlines() if "cache_config_info" not in line and "process_" not in line]
    text = "\n".join([*kept, "# EOF"])
    assert kind(text) == "vllm"
    assert {name: value for name, value in figures(page).items() if name != "process_start"} == {
        name: value for name, value in figures(text).items() if name != "process_start"
    }
    assert cache_configuration(parse(text, CONFIG_METRICS)) == {}
