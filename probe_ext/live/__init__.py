"""What is going on now, from rows as they come: no Locust, no clock, no files."""
