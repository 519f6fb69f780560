"""The state of a running test, from rows as they arrive: no Locust, no clock, no files."""
