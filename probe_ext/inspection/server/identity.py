"""Is the server there, which model would answer, and does the planned prompt with its reply fit its context?

These also decide whether a run can start: their evidence is then the one line that refuses it.
"""

import re

from probe_ext.access.known_server import KnownServer
from probe_ext.inspection.finding import Figures, Finding, Status
from probe_ext.settings.options import Options
from probe_ext.verdict.phrasing.plurals import listed, things

_NO_CHAT_MODEL = re.compile(r"embed|rerank|whisper|bge-|clip|tts|moderation|diffusion", re.IGNORECASE)
_HOW_TO_LENGTHEN = {
    "vllm": "--max-model-len",
    "sglang": "--context-length",
    "llama.cpp": "-c",
    "tgi": "--max-total-tokens",
}


def identity(server: KnownServer, options: Options) -> list[Finding]:
    """Return the findings on engine, model and context."""
    return [engine(server), models(server, options), context(server, options)]


def engine(server: KnownServer) -> Finding:
    """Say which engine and version answers."""
    figures = {"kind": server.kind, "version": server.version}
    if server.kind == "unknown":
        why = "Neither metrics nor the list of models name a known engine"
        return Finding("engine", Status.UNKNOWN, f"{why}: nothing is assumed of its settings.", None, figures)
    version = server.version or "version unknown"
    return Finding("engine", Status.OK, f"{server.kind} {version}.", None, figures)


def models(server: KnownServer, options: Options) -> Finding:
    """Say which model would answer; a problem if none would."""
    why, listed_models, url = server.models_error, server.models, server.url
    figures = {"model": server.model, "listed": None if listed_models is None else len(listed_models)}
    if listed_models is not None and options.model and options.model not in listed_models:
        shown = ", ".join(listed_models[:5]) or "no models"
        evidence = f"--model {options.model}: the server at {url} lists {shown}."
        return Finding("models", Status.PROBLEM, evidence, "Name a listed model with --model.", figures)
    if why and not _answered(why):
        return Finding("models", Status.PROBLEM, f"--host {url}: {why}.", _key_advice(why), figures)
    if server.model is None:
        reason = _no_models(why) if why else "lists no models."
        return Finding("models", Status.PROBLEM, f"--host {url}: {reason}", "Name one with --model.", figures)
    if why:
        evidence = f"The server does not list its models ({why}); {server.model} is asked for."
        return Finding("models", Status.OK, evidence, None, figures)
    return _listed_model(server, options, figures)


def _listed_model(server: KnownServer, options: Options, figures: Figures) -> Finding:
    names = server.models or ()
    others = f", and {things(len(names) - 1, 'other')}: {listed(names[1:])}" if len(names) > 1 else ""
    if options.model:
        return Finding("models", Status.OK, f"{options.model}, as given.", None, figures)
    evidence = f"{server.model} would be used, the first one listed{others}." if others else f"{server.model}."
    if _NO_CHAT_MODEL.search(server.model or ""):
        advice = "Name the model to measure with --model."
        return Finding("models", Status.WARN, f"{evidence} Its name is not that of a chat model.", advice, figures)
    return Finding("models", Status.OK, evidence, "Name another one with --model." if others else None, figures)


def context(server: KnownServer, options: Options) -> Finding:
    """Compare the context length with --input-tokens and --max-tokens."""
    limit, planned = server.max_model_len, options.input_tokens + options.max_tokens
    figures = {"context_tokens": limit, "planned_tokens": planned}
    asked = f"--input-tokens {options.input_tokens} and --max-tokens {options.max_tokens}"
    if limit is None:
        evidence = f"The server does not say how long its context is; the plan needs {planned:,} tokens."
        return Finding("context", Status.UNKNOWN, evidence, None, figures)
    if planned > limit:
        evidence = f"{asked}: together more than the {limit} tokens of {server.model}'s context at {server.url}."
        setting = _HOW_TO_LENGTHEN.get(server.kind)
        advice = "Lower --input-tokens or --max-tokens" + (f", or raise the server's {setting}." if setting else ".")
        return Finding("context", Status.PROBLEM, evidence, advice, figures)
    evidence = f"{limit:,} tokens; the plan needs {planned:,} ({asked})."
    return Finding("context", Status.OK, evidence, None, figures)


def _no_models(why: str) -> str:
    """Say what may be wrong with a server that returns no list of models."""
    what = why if why.startswith("/v1/models") else f"/v1/models: {why}"
    return f"{what}: not an OpenAI-compatible server, or a wrong port or path prefix? It lists no models."


def _answered(why: str) -> bool:
    """Whether a server without a list of models may still work: it answered by HTTP, and did not refuse the key."""
    return why.startswith("/v1/models") or (why[:3].isdigit() and why[:3] not in {"401", "403"})


def _key_advice(why: str) -> str | None:
    return "Set PROBE_API_KEY." if why[:3] in {"401", "403"} else None
