"""Prompt files of a workload: opened, counted in the tokens of the server under test, and asked."""
