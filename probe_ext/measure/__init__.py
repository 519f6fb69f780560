"""Definitions of what is measured: times, rates, outcomes, table rows, sketches, the clock. Standard library only."""
