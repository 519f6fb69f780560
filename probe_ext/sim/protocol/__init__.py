"""Request and response bodies as vLLM reads and writes them."""
