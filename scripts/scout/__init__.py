"""Prove on simulated servers what `probe scout` claims of cheats."""
