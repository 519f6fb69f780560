"""Recorded traffic that is replayed: which requests a trace holds, when they came, and what text they shared."""
