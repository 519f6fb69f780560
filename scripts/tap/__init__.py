"""Evidence for `probe tap`: what it costs, and whether workloads made from recordings behave like recorded users."""
