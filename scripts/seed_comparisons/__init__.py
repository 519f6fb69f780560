"""The comparisons of four published texts, made again on simulated servers by `probe compare` and `probe plan`."""
