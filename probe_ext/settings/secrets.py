"""Secrets: read from the environment only, never options, so that no process list, log or file shows them."""

import os
from collections.abc import Iterable

from probe_ext.settings.request_extras import variable_pairs

API_KEY_VARIABLE = "PROBE_API_KEY"  # not OPENAI_API_KEY: a key for another service must not reach the server under test
WEB_PASSWORD_VARIABLE = "PROBE_WEB_PASSWORD"  # noqa: S105 - the variable's name, not a password
SWARM_TOKEN_VARIABLE = "PROBE_SWARM_TOKEN"  # noqa: S105 - the variable's name, not a token
_API_KEY_OPTIONS = {
    *("api-key", "apikey", "openai-api-key", "key", "token", "api-token", "auth-token", "bearer", "bearer-token")
}
MIN_TOKEN_CHARACTERS = 16
HOSTS_VARIABLE = "PROBE_WEB_HOSTS"  # not a secret: further names under which the web UI is reached


def api_key() -> str | None:
    """Return the API key of the server under test, None if unset. ValueError if an HTTP header cannot carry it."""
    key = os.environ.get(API_KEY_VARIABLE, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"{API_KEY_VARIABLE}: contains characters that are not allowed in an HTTP header")
    return key or None


def api_key_hint(option: str, by_variable: str | None = None) -> str | None:
    """Return what to say of an unknown option that was to pass an API key, without its value; None for others.

    `by_variable`: the command's own option that names a variable with a key.
    """
    name = option.partition("=")[0].strip("-").replace("_", "-").lower()
    if name not in _API_KEY_OPTIONS:
        return None
    if by_variable:
        return f"--{name}: not an option; name a variable that holds it with {by_variable}"
    return f"--{name}: not an option; the API key is read from the environment variable {API_KEY_VARIABLE}"


def has_api_key() -> bool:
    """Return whether an API key is set: the only thing master and workers tell each other about it."""
    return bool(os.environ.get(API_KEY_VARIABLE, "").strip())


def is_set(variable: str) -> bool:
    """Return whether a variable of --header-env has a value in this process's environment."""
    return bool(os.environ.get(variable, "").strip())


def secret_headers(header_env: Iterable[str]) -> dict[str, str]:
    """Return the headers of --header-env with their values. ValueError names a variable that is unset or invalid."""
    found = {}
    for header, variable in variable_pairs(header_env).items():
        value = os.environ.get(variable, "").strip()
        if not value:
            raise ValueError(f"--header-env {header}={variable}: {variable} is not set in this process's environment")
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"{variable}: contains characters that are not allowed in an HTTP header")
        found[header] = value
    return found


def swarm_token() -> bytes | None:
    """Return the token that master and workers prove to each other, None if unset. ValueError if it is too short."""
    token = os.environ.get(SWARM_TOKEN_VARIABLE, "").strip()
    if token and len(token) < MIN_TOKEN_CHARACTERS:
        raise ValueError(f"{SWARM_TOKEN_VARIABLE}: must have at least {MIN_TOKEN_CHARACTERS} characters")
    return token.encode() or None
