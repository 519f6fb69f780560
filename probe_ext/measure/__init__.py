"""The ruler: marks in time, what they mean, and how they are summed up. Standard library only, no I/O."""
