"""Reproduce the published RTX 3060 measurements with `probe` on the simulated server.

``python -m scripts.seeds`` (``make seeds``) runs everything and writes ``reports/seeds/``; ``python -m
scripts.seeds.fit`` fits the profiles' numbers on virtual time and prints them.
"""
