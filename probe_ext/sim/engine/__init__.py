"""vLLM's V1 scheduler on virtual time: no clock, no I/O, the same output for the same input."""
