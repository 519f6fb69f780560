"""Measure the swarm at scale and over time: `make scale` and `make soak`."""
