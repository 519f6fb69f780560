"""Why no run can start against a server, by what it says about itself: each reason in one line, with what helps."""

from collections.abc import Sequence

from probe_ext.access.known_server import KnownServer
from probe_ext.access.local_servers import found_instead
from probe_ext.closest_name import did_you_mean
from probe_ext.settings.options import Options
from probe_ext.settings.secrets import API_KEY_VARIABLE

STARTING = {"502", "503", "504"}
"""HTTP statuses of a server, or of what is in front of it, while the model loads"""
_REFUSED = "connection refused"
_ANSWERS_TO_LISTED_ONLY = "vllm"
"""the engine that refuses every other name; llama.cpp takes any, Ollama and gateways more than they list"""
_MAX_NAMED = 5


def start_problem(server: KnownServer, options: Options) -> str | None:
    """Return why no run can start, in one line that names the option; None if the server can be tried."""
    too_long = context_problem(server, options)
    return models_problem(server, options) or (f"{too_long}; lower one of them" if too_long else None)


def models_problem(server: KnownServer, options: Options) -> str | None:
    """Return why no model would answer; None if one may."""
    url, why = server.url, server.models_error
    if why and not _can_be_tried(why, options.model):
        elsewhere = found_instead() if why.startswith(_REFUSED) and server.target.is_loopback else ""
        return f"--host {url}: {why}{_hint(why)}{elsewhere}"
    if server.model is None:
        return f"--host {url}: {_no_models(why) if why else _none_can_chat(server.models or ())}"
    return _not_listed(server, options.model) if options.model else None


def _not_listed(server: KnownServer, model: str) -> str | None:
    """Say that the server does not list this model, if it accepts only those that it lists."""
    listed = server.models
    if not listed or model in listed or server.kind != _ANSWERS_TO_LISTED_ONLY:
        return None
    more = f" and {len(listed) - _MAX_NAMED} more" if len(listed) > _MAX_NAMED else ""
    named = f"{', '.join(listed[:_MAX_NAMED])}{more}"
    return f"--model {model}: {server.url} does not serve it{did_you_mean(model, listed)}; it lists {named}"


def context_problem(server: KnownServer, options: Options) -> str | None:
    """Say that the planned prompt and reply do not fit the context; None if they do, or if it is unknown."""
    limit = server.max_model_len
    if not limit or options.input_tokens + options.max_tokens <= limit:
        return None
    return (
        f"{asked_lengths(options)}: together more than the {limit} tokens of {server.model}'s context at {server.url}"
    )


def asked_lengths(options: Options) -> str:
    """Name the planned lengths of a prompt and a reply as they were given; of a workload, those of its longest kind."""
    if options.workload:
        first = f"a first request of {options.input_tokens:,} tokens and a reply of {options.max_tokens:,}"
        return f"--workload {options.workload}, with {first}"
    return f"--input-tokens {options.input_tokens} and --max-tokens {options.max_tokens}"


def _hint(why: str) -> str:
    """Name the option that may help where a server does not even list its models."""
    if why.startswith(("401", "403")):
        return (
            f"; set {API_KEY_VARIABLE} in the environment to a key that this server accepts, "
            "or --header-env NAME=VARIABLE if it wants the key in another header"
        )
    if why.startswith("redirect"):
        return "; give that address as --host"
    if why.startswith("timed out"):
        return " (--timeout-connect); is this the port of the API, and does a firewall let requests through?"
    return ""


def _none_can_chat(models: Sequence[str]) -> str:
    if not models:
        return "lists no models; name one with --model"
    return f"lists only models that do not look like chat models ({', '.join(models[:5])}); name one with --model"


def _no_models(why: str) -> str:
    """Say what may be wrong with a server that returns no list of models."""
    what = why if why.startswith("/v1/models") else f"/v1/models: {why}"
    if why[:3] in STARTING:
        return f"{what}: the server is still starting, or a gateway cannot reach it; repeat once it answers"
    return (
        f"{what}: not an OpenAI-compatible server, or a wrong port or path prefix? "
        "If the server does not list models, name one with --model"
    )


def _can_be_tried(why: str, model: str | None) -> bool:
    """Whether a server without a list of models may still work: it answered by HTTP, and did not refuse the key.

    A key may be allowed to ask a model and not to list them (403).
    """
    refused = {"401"} if model else {"401", "403"}
    return why.startswith("/v1/models") or (why[:3].isdigit() and why[:3] not in refused)
