"""What a metrics page tells of the KV cache's configuration, read once for the manifest.

vLLM puts every field of its cache configuration into the labels of `vllm:cache_config_info`, as text, and the set
changes with nearly every release: labels are taken by name. With data-parallel engines each engine repeats the *sum* of
the blocks, so figures are the largest over the series, never added.
"""

from probe_ext.target.metrics_text import Page, Sample

CONFIG = frozenset(
    {
        "vllm_cache_config_info",
        "sglang_cache_config_info",
        "sglang_max_total_num_tokens",
        "sglang_page_size",
        "sglang_num_pages",
        "sglang_context_len",
        "tgi_batch_max_total_tokens",
        "trtllm_kv_cache_max_blocks",
        "trtllm_kv_cache_tokens_per_block",
        "nv_trt_llm_kv_cache_block_metrics",
    }
)
"""metric names to parse for `cache_configuration`"""

Value = str | int | float | bool

_LABELS = (
    "num_gpu_blocks",
    "block_size",
    "kv_cache_size_tokens",
    "kv_cache_max_concurrency",
    "enable_prefix_caching",
    "gpu_memory_utilization",
    "cache_dtype",
    "num_gpu_blocks_override",
    "kv_cache_memory_bytes",
    "cpu_offload_gb",
    "swap_space",
    "sliding_window",
    "prefix_caching_hash_algo",
    "page_size",
    "num_pages",
)
_GAUGES = {
    "sglang_max_total_num_tokens": "kv_cache_size_tokens",
    "sglang_page_size": "block_size",
    "sglang_num_pages": "num_gpu_blocks",
    "sglang_context_len": "max_model_len",
    "tgi_batch_max_total_tokens": "kv_cache_size_tokens",
    "trtllm_kv_cache_max_blocks": "num_gpu_blocks",
    "trtllm_kv_cache_tokens_per_block": "block_size",
}
_TRITON = {"max": "num_gpu_blocks", "tokens_per": "block_size"}


def cache_configuration(page: Page) -> dict[str, Value]:
    """Named settings, and `kv_tokens`: how many tokens the cache holds, all engines together. Empty where none tells.

    `kv_tokens` is the server's own figure where it gives one, else blocks × block size (wrong for hybrid models).
    """
    told: dict[str, Value] = {}
    engines = set()
    for sample in page.samples:
        if sample.name.endswith("cache_config_info"):
            engines.add(sample.labels.get("engine", "0"))
        for name, value in _settings(sample):
            told[name] = _larger(value, told.get(name))
    if tokens := _kv_tokens(told):
        told["kv_tokens"] = tokens
    if engines:
        told["engines"] = len(engines)
    return told


def _settings(sample: Sample) -> list[tuple[str, Value]]:
    if sample.name.endswith("cache_config_info"):
        named = [(name, _typed(sample.labels.get(name))) for name in _LABELS]
        return [(name, value) for name, value in named if value is not None]
    if sample.name == "nv_trt_llm_kv_cache_block_metrics":
        known = _TRITON.get(sample.labels.get("kv_cache_block_type", ""))
        return [(known, int(sample.value))] if known and sample.value > 0 else []
    if sample.name in _GAUGES and 0 < sample.value < float("inf"):
        return [(_GAUGES[sample.name], int(sample.value))]
    return []


def _typed(text: str | None) -> Value | None:
    if text is None or text in ("", "None"):
        return None
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text[:80]


def _larger(value: Value, before: Value | None) -> Value:
    if isinstance(value, int | float) and isinstance(before, int | float):
        return max(value, before)
    return value


def _kv_tokens(told: dict[str, Value]) -> int | None:
    if isinstance(size := told.get("kv_cache_size_tokens"), int):
        return size
    blocks, block = told.get("num_gpu_blocks"), told.get("block_size")
    return blocks * block if isinstance(blocks, int) and isinstance(block, int) else None
