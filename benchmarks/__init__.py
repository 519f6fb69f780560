"""Measure the load generator's timing accuracy and CPU cost, also of other tools: `make bench`."""
