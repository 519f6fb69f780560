"""Prompts from the user's own files."""
