"""vLLM's Prometheus metrics."""
