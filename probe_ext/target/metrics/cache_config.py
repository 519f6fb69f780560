"""The KV cache configuration from a metrics page, read once for the manifest.

vLLM exports its cache configuration as text labels of `vllm:cache_config_info`, which change with nearly every release:
labels are read by name. With data-parallel engines each engine repeats the sum of all blocks, so values are the maximum
over the series, never the sum.
"""

from probe_ext.measure.safe_text import safe_text
from probe_ext.target.metrics.metrics_text import Page, Sample

CONFIG_METRICS = frozenset(
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
"""metric names that `cache_configuration` needs"""

Value = str | int | float | bool

_MAX_VALUE_LENGTH = 80

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
    """Return the cache settings, and `kv_tokens`: its size in tokens over all engines. Empty if the page has none.

    `kv_tokens` is the server's own value if there is one, else blocks × block size (wrong for hybrid models).
    """
    settings: dict[str, Value] = {}
    engines = set()
    for sample in page.samples:
        if sample.name.endswith("cache_config_info"):
            engines.add(sample.labels.get("engine", "0"))
        for name, value in _settings(sample):
            settings[name] = _larger(value, settings.get(name))
    if tokens := _kv_tokens(settings):
        settings["kv_tokens"] = tokens
    if engines:
        settings["engines"] = len(engines)
    return settings


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
    return safe_text(text, length=_MAX_VALUE_LENGTH)


def _larger(value: Value, before: Value | None) -> Value:
    if isinstance(value, int | float) and isinstance(before, int | float):
        return max(value, before)
    return value


def _kv_tokens(settings: dict[str, Value]) -> int | None:
    if isinstance(size := settings.get("kv_cache_size_tokens"), int):
        return size
    blocks, block = settings.get("num_gpu_blocks"), settings.get("block_size")
    return blocks * block if isinstance(blocks, int) and isinstance(block, int) else None
