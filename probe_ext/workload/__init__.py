"""Whose load it is: kinds of user with their prompts, pauses and reply lengths, as a YAML file or a locustfile says."""
