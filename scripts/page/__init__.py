"""Measure the cost of the report of a large run, and take the screenshots for the docs."""
