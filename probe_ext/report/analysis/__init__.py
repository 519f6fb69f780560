"""A run in Python: its tables as pandas frames, its verdict, and the pictures of its page."""
