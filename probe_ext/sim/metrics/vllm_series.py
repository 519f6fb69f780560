"""Names and bucket edges of vLLM 0.32.0's metrics, as a real server exposes them; the help texts are ours."""

from probe_ext.sim.profile import Profile

FINISHED_REASONS = ("stop", "length", "abort", "error", "repetition")

ENGINE_COUNTERS = {
    "estimated_flops_per_gpu": "Estimated operations (0: not measured)",
    "estimated_read_bytes_per_gpu": "Estimated bytes read (0: not measured)",
    "estimated_write_bytes_per_gpu": "Estimated bytes written (0: not measured)",
    "prefix_cache_queries": "Prompt tokens looked up in the prefix cache",
    "prefix_cache_hits": "Prompt tokens found in the prefix cache",
    "external_prefix_cache_queries": "Tokens looked up in an external cache",
    "external_prefix_cache_hits": "Tokens found in an external cache",
    "mm_cache_queries": "Items looked up in the multi-modal cache",
    "mm_cache_hits": "Items found in the multi-modal cache",
    "num_preemptions": "Preemptions, counted with the request's next token",
    "prompt_tokens": "Prompt tokens of finished prefills",
    "prompt_tokens_cached": "Prompt tokens found in the cache",
    "generation_tokens": "Generated tokens",
}
SOURCES = {
    "prompt_tokens_by_source": ("local_compute", "local_cache_hit", "external_kv_transfer"),
    "prompt_tokens_cached_by_source": ("device", "host", "p2p", "disk", "external_unspecified"),
}
HISTOGRAMS = {
    "request_prompt_tokens": "Prompt tokens of a request",
    "request_generation_tokens": "Generated tokens of a request",
    "iteration_tokens_total": "Tokens of an engine step",
    "request_max_num_generation_tokens": "Maximum number of generated tokens of a request",
    "request_params_n": "Parameter n",
    "request_params_max_tokens": "Parameter max_tokens",
    "time_to_first_token_seconds": "Time to first token",
    "inter_token_latency_seconds": "Time between tokens",
    "request_time_per_output_token_seconds": "Mean time per output token of a request",
    "e2e_request_latency_seconds": "End-to-end latency of a request",
    "request_queue_time_seconds": "Time until first scheduled",
    "request_inference_time_seconds": "Time from first scheduled to last token",
    "request_prefill_time_seconds": "Time from first scheduled to first token",
    "request_decode_time_seconds": "Time from first to last token",
    "request_num_preemptions": "Preemptions of a request",
    "request_prefill_kv_computed_tokens": "Prompt tokens computed, without cached tokens",
}
_TOKEN_COUNTS = ("request_prompt_tokens", "request_generation_tokens", "request_max_num_generation_tokens",
           "request_params_max_tokens", "request_prefill_kv_computed_tokens")  # fmt: skip
_REQUEST_LATENCY_EDGES = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_TOKEN_LATENCY_EDGES = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_EDGES: dict[str, tuple[float, ...]] = {
    "iteration_tokens_total": (1, 8, *(2.0**power for power in range(4, 15))),
    "request_params_n": (1, 2, 5, 10, 20),
    "request_num_preemptions": (1, 2, 3, 4, 5, 10, 20),
    "inter_token_latency_seconds": _TOKEN_LATENCY_EDGES,
    "request_time_per_output_token_seconds": _TOKEN_LATENCY_EDGES,
    "time_to_first_token_seconds": (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5,
                                    10, 20, 40, 80, 160, 640, 2560),
}  # fmt: skip
LATENESS_EDGES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


def histogram_edges(name: str, max_model_len: int) -> tuple[float, ...]:
    """Return bucket edges; token counts use 1-2-5 steps up to ``max_model_len``."""
    if name in _TOKEN_COUNTS:
        series = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
        return tuple(float(edge) for edge in series if edge <= max_model_len)
    return _EDGES.get(name, _REQUEST_LATENCY_EDGES)


def cache_config(profile: Profile) -> dict[str, str]:
    """Return the labels of ``cache_config_info``; all values are text, None is "None"."""
    tokens = profile.num_gpu_blocks * profile.block_size
    none = (
        "cache_hit_alignment_tokens", "hash_block_size", "kv_cache_layout", "kv_offloading_size", "mamba_block_size",
        "mamba_page_size_padded", "num_cpu_blocks", "num_gpu_blocks_override", "prefix_match_unit",
        "skip_page_size_padded", "sliding_window",
    )  # fmt: skip
    false = (
        "enable_mamba_shared_prefix_checkpoint", "is_attention_free", "kv_sharing_fast_prefill", "use_kda_recoverssm",
        "use_replayssm", "user_specified_block_size",
    )  # fmt: skip
    return {
        **dict.fromkeys(none, "None"),
        **dict.fromkeys(false, "False"),
        "_block_size_resolved": "True",
        "block_size": str(profile.block_size),
        "cache_dtype": "auto" if profile.kv_element_bytes == 2 else "fp8_e4m3",
        "effective_attention_block_size": str(profile.block_size),
        "enable_prefix_caching": str(profile.prefix_caching),
        "gpu_memory_utilization": str(profile.gpu_memory_utilization),
        "kv_cache_dtype_skip_layers": "[]",
        "kv_cache_max_concurrency": str(tokens / profile.max_model_len),
        "kv_cache_memory_bytes": "None" if profile.kv_pool_bytes is None else str(int(profile.kv_pool_bytes)),
        "kv_cache_size_tokens": str(tokens),
        "kv_offloading_backend": "native",
        "mamba_cache_dtype": "auto",
        "mamba_cache_mode": "none",
        "mamba_ssm_cache_dtype": "float32",
        "num_gpu_blocks": str(profile.num_gpu_blocks),
        "prefix_cache_retention_interval": "0",
        "prefix_caching_hash_algo": "sha256",
        "replayssm_buffer_len": "16",
        "swa_bounded_replay": "True",
    }
