"""The server under test, as reached with the options in force: identification, prompts of its tokens, requests."""
