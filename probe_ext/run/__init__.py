"""The run directory: everything a run leaves behind, and all that reports are made from."""
