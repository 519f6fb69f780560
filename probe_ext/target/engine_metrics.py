"""Which engine shows which quantity under which name: data, no logic.

A quantity's sources stand in order of preference; the first whose metrics are on the page counts, so versions need not
be known. Names carry `_` for `:`. Where an engine has no honest figure it has no row, and the quantity is missing.
"""

from dataclasses import dataclass

Where = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where an engine shows one quantity."""

    quantity: str
    metrics: tuple[str, ...]
    """added up; all of them must be there"""
    where: Where = ()
    """label, pattern: only samples whose label (empty when absent) matches the whole pattern"""
    help_says: str | None = None
    """only where the metric's HELP text holds this word"""


@dataclass(frozen=True, slots=True)
class Engine:
    """One serving engine's names."""

    kind: str
    sources: tuple[Source, ...]
    engine_label: str = "engine"
    """the label that tells data-parallel engines apart"""
    lookalikes: tuple[tuple[str, str], ...] = ()
    """metric, kind: who else uses these names, and what gives it away"""


def _at(quantity: str, *metrics: str, where: Where = (), help_says: str | None = None) -> Source:
    return Source(quantity, metrics, where, help_says)


def _histogram(quantity: str, metric: str) -> tuple[Source, Source]:
    return _at(f"{quantity}_sum", f"{metric}_sum"), _at(f"{quantity}_count", f"{metric}_count")


def _ends(metric: str) -> tuple[Source, ...]:
    """A counter with a finish reason counts every ending under one name: part them."""
    return (
        _at("requests_finished", metric, where=(("finished_reason", r"(?i)(?!.*(abort|cancel|error|fail)).*"),)),
        _at("requests_aborted", metric, where=(("finished_reason", r"(?i).*(abort|cancel).*"),)),
        _at("requests_failed", metric, where=(("finished_reason", r"(?i)(?!.*(abort|cancel)).*(error|fail).*"),)),
    )


_VLLM = Engine(
    "vllm",
    (
        _at("running", "vllm_num_requests_running"),
        _at("waiting", "vllm_num_requests_waiting"),
        _at("swapped", "vllm_num_requests_swapped"),
        _at("kv_usage", "vllm_kv_cache_usage_perc"),  # named _perc, but 1 is all
        _at("kv_usage", "vllm_gpu_cache_usage_perc"),
        _at("preemptions", "vllm_num_preemptions_total"),
        _at("prompt_tokens", "vllm_prompt_tokens_total"),
        _at("generation_tokens", "vllm_generation_tokens_total"),
        _at("prompt_tokens_cached", "vllm_prompt_tokens_cached_total"),
        _at("prefix_queries", "vllm_prefix_cache_queries_total"),
        _at("prefix_hits", "vllm_prefix_cache_hits_total"),
        # The same name counted blocks up to 0.8.5 and tokens from 0.9.0; only its HELP text tells.
        _at("prefix_queries", "vllm_gpu_prefix_cache_queries_total", help_says="tokens"),
        _at("prefix_hits", "vllm_gpu_prefix_cache_hits_total", help_says="tokens"),
        _at("prefix_queries_blocks", "vllm_gpu_prefix_cache_queries_total", help_says="blocks"),
        _at("prefix_hits_blocks", "vllm_gpu_prefix_cache_hits_total", help_says="blocks"),
        *_ends("vllm_request_success_total"),  # despite its name it counts aborts and errors too
        _at("rejections", "vllm_admission_rejections_total"),
        *_histogram("ttft", "vllm_time_to_first_token_seconds"),
        *_histogram("itl", "vllm_inter_token_latency_seconds"),
        *_histogram("itl", "vllm_time_per_output_token_seconds"),  # always was inter-token; gone in 0.16
        *_histogram("tpot", "vllm_request_time_per_output_token_seconds"),
        *_histogram("e2e", "vllm_e2e_request_latency_seconds"),
        *_histogram("queue", "vllm_request_queue_time_seconds"),
        *_histogram("prefill", "vllm_request_prefill_time_seconds"),
        *_histogram("decode", "vllm_request_decode_time_seconds"),
        _at("process_start", "process_start_time_seconds"),
        _at("process_start", "vllm_generation_tokens_created"),
    ),
    lookalikes=(("vllm_max_num_generation_tokens_count", "llm-d-sim"),),
)

_SGLANG = Engine(
    "sglang",
    (
        _at("running", "sglang_num_running_reqs"),
        _at("waiting", "sglang_num_queue_reqs"),
        _at("kv_usage", "sglang_token_usage"),  # rounded to 0.01 in most versions; the fullest pool
        _at("kv_usage", "sglang_full_token_usage"),
        _at("preemptions", "sglang_num_retracted_requests_total"),  # retraction is its word for preemption
        _at("prompt_tokens", "sglang_prompt_tokens_total"),  # added when the request finishes, as the next
        _at("generation_tokens", "sglang_generation_tokens_total"),
        _at("prompt_tokens_cached", "sglang_cached_tokens_total"),
        _at("prefix_queries", "sglang_prompt_tokens_total"),  # every prompt is looked up as a whole
        _at("prefix_hits", "sglang_cached_tokens_total"),
        _at("requests_finished", "sglang_num_requests_total"),
        _at("requests_aborted", "sglang_num_aborted_requests_total"),
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
        _at("running", "llamacpp_requests_processing"),
        _at("waiting", "llamacpp_requests_deferred"),
        _at("kv_usage", "llamacpp_kv_cache_usage_ratio"),  # gone since 2025: nothing has taken its place
        # Its prompt counter leaves cached tokens out; builds without the second counter cannot be put right.
        _at("prompt_tokens", "llamacpp_prompt_tokens_total", "llamacpp_prompt_tokens_cached_total"),
        _at("prompt_tokens", "llamacpp_prompt_tokens_total"),
        _at("prompt_tokens_cached", "llamacpp_prompt_tokens_cached_total"),
        _at("generation_tokens", "llamacpp_tokens_predicted_total"),
    ),
)

_TGI = Engine(
    "tgi",
    (
        _at("running", "tgi_batch_current_size"),
        _at("waiting", "tgi_queue_size"),
        _at("prompt_tokens", "tgi_request_input_length_sum"),
        _at("generation_tokens", "tgi_request_generated_tokens_sum"),
        _at("requests_finished", "tgi_request_success"),
        _at("requests_finished", "tgi_request_success_total"),
        _at("rejections", "tgi_request_failure", where=(("err", "overloaded"),)),
        _at("requests_failed", "tgi_request_failure", where=(("err", "(?!overloaded).*"),)),
        *_histogram("tpot", "tgi_request_mean_time_per_token_duration"),
        *_histogram("e2e", "tgi_request_duration"),
        *_histogram("queue", "tgi_request_queue_duration"),
        # tgi_batch_inference_duration is per batch, and its token budgets are reservations: neither is taken.
    ),
)

_TRTLLM = Engine(
    "tensorrt-llm",
    (
        _at("running", "trtllm_num_requests_running"),
        _at("waiting", "trtllm_num_requests_waiting"),
        _at("kv_usage", "trtllm_kv_cache_utilization"),
        _at("prompt_tokens", "trtllm_prompt_tokens_total"),
        _at("generation_tokens", "trtllm_generation_tokens_total"),
        _at("prompt_tokens_cached", "trtllm_prompt_cached_tokens_total"),
        *_ends("trtllm_request_success_total"),
        _at("requests_failed", "trtllm_request_error_total"),
        *_histogram("ttft", "trtllm_time_to_first_token_seconds"),
        *_histogram("tpot", "trtllm_time_per_output_token_seconds"),
        *_histogram("e2e", "trtllm_e2e_request_latency_seconds"),
        *_histogram("queue", "trtllm_request_queue_time_seconds"),
        *_histogram("prefill", "trtllm_request_prefill_time_seconds"),
        *_histogram("decode", "trtllm_request_decode_time_seconds"),
        _at("process_start", "process_start_time_seconds"),
    ),
)

_TRITON = Engine(
    "triton",
    (
        _at("running", "nv_trt_llm_request_metrics", where=(("request_type", "active"),)),
        _at("waiting", "nv_trt_llm_request_metrics", where=(("request_type", "waiting"),)),
        _at("kv_usage", "nv_trt_llm_kv_cache_block_metrics", where=(("kv_cache_block_type", "fraction"),)),
        # Its own counters know one request under each model of the pipeline, and its queue time is not the batcher's.
        _at("requests_finished", "nv_inference_request_success", where=(("model", "tensorrt_llm"),)),
        _at("requests_failed", "nv_inference_request_failure", where=(("model", "tensorrt_llm"),)),
    ),
)

_LMDEPLOY = Engine(
    "lmdeploy",
    (
        _at("running", "lmdeploy_num_requests_running"),
        _at("waiting", "lmdeploy_num_requests_waiting", "lmdeploy_num_api_requests_waiting"),
        _at("waiting", "lmdeploy_num_requests_waiting"),
        _at("kv_usage", "lmdeploy_gpu_cache_usage_perc"),
        _at("prompt_tokens", "lmdeploy_prompt_tokens_total"),
        _at("generation_tokens", "lmdeploy_generation_tokens_total"),
        _at("prompt_tokens_cached", "lmdeploy_cached_tokens_total"),
        *_ends("lmdeploy_request_success_total"),
        *_histogram("ttft", "lmdeploy_time_to_first_token_seconds"),
        *_histogram("itl", "lmdeploy_iter_token_latency"),  # seconds, though its name does not say so
        *_histogram("tpot", "lmdeploy_time_per_output_token_seconds"),
        *_histogram("e2e", "lmdeploy_e2e_request_latency_seconds"),
        *_histogram("queue", "lmdeploy_request_queue_time_seconds"),
        *_histogram("prefill", "lmdeploy_request_prefill_time_seconds"),
        *_histogram("decode", "lmdeploy_request_decode_time_seconds"),
        _at("process_start", "process_start_time_seconds"),
    ),
)

_NIM = Engine(
    "nim",
    (
        _at("running", "num_requests_running"),
        _at("waiting", "num_requests_waiting"),
        _at("kv_usage", "gpu_cache_usage_perc"),
        _at("prompt_tokens", "prompt_tokens_total"),
        _at("generation_tokens", "generation_tokens_total"),
        _at("requests_finished", "request_success_total"),
        _at("requests_failed", "request_failure_total"),
        *_histogram("ttft", "time_to_first_token_seconds"),
        *_histogram("itl", "time_per_output_token_seconds"),
        *_histogram("e2e", "e2e_request_latency_seconds"),
        _at("process_start", "process_start_time_seconds"),
    ),
)

ENGINES: tuple[Engine, ...] = (_VLLM, _SGLANG, _LLAMACPP, _TGI, _TRTLLM, _TRITON, _LMDEPLOY, _NIM)
