"""Whole runs on virtual time: simulated people in a closed loop around the simulated server's engine.

A minute of run takes some ten milliseconds, the same seed gives the same run, and what comes out is what the verdict
takes for evidence. Nothing is measured here: the marks of a reply are the engine's own, so the verdict is judged apart
from the client's accuracy.
"""
