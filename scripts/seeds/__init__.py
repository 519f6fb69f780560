"""The published RTX 3060 measurements, set beside what the probe measures on the simulated server.

``python -m scripts.seeds`` (``make seeds``) runs everything and writes ``reports/seeds/``; ``python -m
scripts.seeds.fit`` shows how the profiles and workloads were fitted, on virtual time.
"""
