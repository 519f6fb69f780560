"""Metric names of each engine for each canonical quantity.

A quantity's sources are in order of preference: the first whose metrics are on the page is used, so no version is
needed. Names have `_` for `:`. Without a reliable metric, an engine has no source and the quantity is missing.
"""

from dataclasses import dataclass

Where = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Source:
    """The metrics of an engine that make up one quantity."""

    quantity: str
    metrics: tuple[str, ...]
    """summed; all of them must be on the page"""
    where: Where = ()
    """(label, pattern) pairs: only samples whose label (empty if absent) fully matches"""
    help_word: str | None = None
    """only if the metric's HELP text contains this word"""


@dataclass(frozen=True, slots=True)
class Engine:
    """The metrics of one serving engine."""

    kind: str
    sources: tuple[Source, ...]
    engine_label: str = "engine"
    """label that identifies data-parallel engines"""
    lookalikes: tuple[tuple[str, str], ...] = ()
    """(metric, kind) pairs: other servers with the same names, and the metric that reveals them"""


def _source(quantity: str, *metrics: str, where: Where = (), help_word: str | None = None) -> Source:
    return Source(quantity, metrics, where, help_word)


def _histogram(quantity: str, metric: str) -> tuple[Source, Source]:
    return _source(f"{quantity}_sum", f"{metric}_sum"), _source(f"{quantity}_count", f"{metric}_count")


def _by_finish_reason(metric: str) -> tuple[Source, ...]:
    """Split a counter of all endings by its finish reason."""
    return (
        _source("requests_finished", metric, where=(("finished_reason", r"(?i)(?!.*(abort|cancel|error|fail)).*"),)),
        _source("requests_aborted", metric, where=(("finished_reason", r"(?i).*(abort|cancel).*"),)),
        _source("requests_failed", metric, where=(("finished_reason", r"(?i)(?!.*(abort|cancel)).*(error|fail).*"),)),
    )


_VLLM = Engine(
    "vllm",
    (
        _source("running", "vllm_num_requests_running"),
        _source("waiting", "vllm_num_requests_waiting"),
        _source("swapped", "vllm_num_requests_swapped"),
        _source("kv_usage", "vllm_kv_cache_usage_perc"),  # despite its name a fraction
        _source("kv_usage", "vllm_gpu_cache_usage_perc"),
        _source("preemptions", "vllm_num_preemptions_total"),
        _source("prompt_tokens", "vllm_prompt_tokens_total"),
        _source("generation_tokens", "vllm_generation_tokens_total"),
        _source("prompt_tokens_cached", "vllm_prompt_tokens_cached_total"),
        _source("prefix_queries", "vllm_prefix_cache_queries_total"),
        _source("prefix_hits", "vllm_prefix_cache_hits_total"),
        # Counts blocks up to 0.8.5 and tokens from 0.9.0; only the HELP text tells them apart.
        _source("prefix_queries", "vllm_gpu_prefix_cache_queries_total", help_word="tokens"),
        _source("prefix_hits", "vllm_gpu_prefix_cache_hits_total", help_word="tokens"),
        _source("prefix_queries_blocks", "vllm_gpu_prefix_cache_queries_total", help_word="blocks"),
        _source("prefix_hits_blocks", "vllm_gpu_prefix_cache_hits_total", help_word="blocks"),
        *_by_finish_reason("vllm_request_success_total"),  # despite its name includes aborts and errors
        _source("rejections", "vllm_admission_rejections_total"),
        *_histogram("ttft", "vllm_time_to_first_token_seconds"),
        *_histogram("itl", "vllm_inter_token_latency_seconds"),
        *_histogram("itl", "vllm_time_per_output_token_seconds"),  # despite its name ITL; removed in 0.16
        *_histogram("tpot", "vllm_request_time_per_output_token_seconds"),
        *_histogram("e2e", "vllm_e2e_request_latency_seconds"),
        *_histogram("queue", "vllm_request_queue_time_seconds"),
        *_histogram("prefill", "vllm_request_prefill_time_seconds"),
        *_histogram("decode", "vllm_request_decode_time_seconds"),
        _source("process_start", "process_start_time_seconds"),
        _source("process_start", "vllm_generation_tokens_created"),
    ),
    lookalikes=(("vllm_max_num_generation_tokens_count", "llm-d-sim"),),
)

_SGLANG = Engine(
    "sglang",
    (
        _source("running", "sglang_num_running_reqs"),
        _source("waiting", "sglang_num_queue_reqs"),
        _source("kv_usage", "sglang_token_usage"),  # of the fullest pool; rounded to 0.01 in most versions
        _source("kv_usage", "sglang_full_token_usage"),
        _source("preemptions", "sglang_num_retracted_requests_total"),  # SGLang's term for preemption
        _source("prompt_tokens", "sglang_prompt_tokens_total"),  # counted when the request finishes
        _source("generation_tokens", "sglang_generation_tokens_total"),
        _source("prompt_tokens_cached", "sglang_cached_tokens_total"),
        _source("prefix_queries", "sglang_prompt_tokens_total"),  # every prompt is looked up completely
        _source("prefix_hits", "sglang_cached_tokens_total"),
        _source("requests_finished", "sglang_num_requests_total"),
        _source("requests_aborted", "sglang_num_aborted_requests_total"),
        *_histogram("ttft", "sglang_time_to_first_token_seconds"),
        *_histogram("itl", "sglang_inter_token_latency_seconds"),  # weighted by tokens, unlike vLLM's
        *_histogram("tpot", "sglang_request_time_per_output_token_seconds"),
        *_histogram("tpot", "sglang_time_per_output_token_seconds"),
        *_histogram("e2e", "sglang_e2e_request_latency_seconds"),
        *_histogram("queue", "sglang_queue_time_seconds"),
    ),
    engine_label="dp_rank",
)

_LLAMACPP = Engine(
    "llama.cpp",
    (
        _source("running", "llamacpp_requests_processing"),
        _source("waiting", "llamacpp_requests_deferred"),
        _source("kv_usage", "llamacpp_kv_cache_usage_ratio"),  # removed in 2025 without a replacement
        # The prompt counter excludes cached tokens; builds without the second counter cannot be corrected.
        _source("prompt_tokens", "llamacpp_prompt_tokens_total", "llamacpp_prompt_tokens_cached_total"),
        _source("prompt_tokens", "llamacpp_prompt_tokens_total"),
        _source("prompt_tokens_cached", "llamacpp_prompt_tokens_cached_total"),
        _source("generation_tokens", "llamacpp_tokens_predicted_total"),
    ),
)

_TGI = Engine(
    "tgi",
    (
        _source("running", "tgi_batch_current_size"),
        _source("waiting", "tgi_queue_size"),
        _source("prompt_tokens", "tgi_request_input_length_sum"),
        _source("generation_tokens", "tgi_request_generated_tokens_sum"),
        _source("requests_finished", "tgi_request_success"),
        _source("requests_finished", "tgi_request_success_total"),
        _source("rejections", "tgi_request_failure", where=(("err", "overloaded"),)),
        _source("requests_failed", "tgi_request_failure", where=(("err", "(?!overloaded).*"),)),
        *_histogram("tpot", "tgi_request_mean_time_per_token_duration"),
        *_histogram("e2e", "tgi_request_duration"),
        *_histogram("queue", "tgi_request_queue_duration"),
        # Not used: tgi_batch_inference_duration is per batch, and the token budgets are reservations.
    ),
)

_TRTLLM = Engine(
    "tensorrt-llm",
    (
        _source("running", "trtllm_num_requests_running"),
        _source("waiting", "trtllm_num_requests_waiting"),
        _source("kv_usage", "trtllm_kv_cache_utilization"),
        _source("prompt_tokens", "trtllm_prompt_tokens_total"),
        _source("generation_tokens", "trtllm_generation_tokens_total"),
        _source("prompt_tokens_cached", "trtllm_prompt_cached_tokens_total"),
        *_by_finish_reason("trtllm_request_success_total"),
        _source("requests_failed", "trtllm_request_error_total"),
        *_histogram("ttft", "trtllm_time_to_first_token_seconds"),
        *_histogram("tpot", "trtllm_time_per_output_token_seconds"),
        *_histogram("e2e", "trtllm_e2e_request_latency_seconds"),
        *_histogram("queue", "trtllm_request_queue_time_seconds"),
        *_histogram("prefill", "trtllm_request_prefill_time_seconds"),
        *_histogram("decode", "trtllm_request_decode_time_seconds"),
        _source("process_start", "process_start_time_seconds"),
    ),
)

_TRITON = Engine(
    "triton",
    (
        _source("running", "nv_trt_llm_request_metrics", where=(("request_type", "active"),)),
        _source("waiting", "nv_trt_llm_request_metrics", where=(("request_type", "waiting"),)),
        _source("kv_usage", "nv_trt_llm_kv_cache_block_metrics", where=(("kv_cache_block_type", "fraction"),)),
        # Triton counts a request once per model of the pipeline, and its queue time is not the batcher's.
        _source("requests_finished", "nv_inference_request_success", where=(("model", "tensorrt_llm"),)),
        _source("requests_failed", "nv_inference_request_failure", where=(("model", "tensorrt_llm"),)),
    ),
)

_LMDEPLOY = Engine(
    "lmdeploy",
    (
        _source("running", "lmdeploy_num_requests_running"),
        _source("waiting", "lmdeploy_num_requests_waiting", "lmdeploy_num_api_requests_waiting"),
        _source("waiting", "lmdeploy_num_requests_waiting"),
        _source("kv_usage", "lmdeploy_gpu_cache_usage_perc"),
        _source("prompt_tokens", "lmdeploy_prompt_tokens_total"),
        _source("generation_tokens", "lmdeploy_generation_tokens_total"),
        _source("prompt_tokens_cached", "lmdeploy_cached_tokens_total"),
        *_by_finish_reason("lmdeploy_request_success_total"),
        *_histogram("ttft", "lmdeploy_time_to_first_token_seconds"),
        *_histogram("itl", "lmdeploy_iter_token_latency"),  # in seconds
        *_histogram("tpot", "lmdeploy_time_per_output_token_seconds"),
        *_histogram("e2e", "lmdeploy_e2e_request_latency_seconds"),
        *_histogram("queue", "lmdeploy_request_queue_time_seconds"),
        *_histogram("prefill", "lmdeploy_request_prefill_time_seconds"),
        *_histogram("decode", "lmdeploy_request_decode_time_seconds"),
        _source("process_start", "process_start_time_seconds"),
    ),
)

_NIM = Engine(
    "nim",
    (
        _source("running", "num_requests_running"),
        _source("waiting", "num_requests_waiting"),
        _source("kv_usage", "gpu_cache_usage_perc"),
        _source("prompt_tokens", "prompt_tokens_total"),
        _source("generation_tokens", "generation_tokens_total"),
        _source("requests_finished", "request_success_total"),
        _source("requests_failed", "request_failure_total"),
        *_histogram("ttft", "time_to_first_token_seconds"),
        *_histogram("itl", "time_per_output_token_seconds"),
        *_histogram("e2e", "e2e_request_latency_seconds"),
        _source("process_start", "process_start_time_seconds"),
    ),
)

ENGINES: tuple[Engine, ...] = (_VLLM, _SGLANG, _LLAMACPP, _TGI, _TRTLLM, _TRITON, _LMDEPLOY, _NIM)
