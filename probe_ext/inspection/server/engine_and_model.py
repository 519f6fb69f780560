"""Is the server there, which model would answer, and does the planned prompt with its reply fit its context?

These also decide whether a run can start: their evidence is then the one line that refuses it.
"""

from probe_ext.access.known_server import KnownServer
from probe_ext.access.start_problem import asked_lengths, context_problem, models_problem
from probe_ext.inspection.check_result import CheckResult, Figures, Status
from probe_ext.inspection.shared_options import name_url
from probe_ext.settings.options import Options
from probe_ext.verdict.phrasing.plurals import listed, things

_HOW_TO_LENGTHEN = {
    "vllm": "--max-model-len",
    "sglang": "--context-length",
    "llama.cpp": "-c",
    "tgi": "--max-total-tokens",
}


def identity(server: KnownServer, options: Options) -> list[CheckResult]:
    """Return the findings on engine, model and context."""
    return [engine(server), models(server, options), context(server, options)]


def engine(server: KnownServer) -> CheckResult:
    """Say which engine and version answers."""
    figures = {"kind": server.kind, "version": server.version}
    if server.kind == "unknown":
        why = "Neither metrics nor the list of models name a known engine"
        return CheckResult("engine", Status.UNKNOWN, f"{why}: no settings are assumed.", None, figures)
    version = server.version or "version unknown"
    return CheckResult("engine", Status.OK, f"{server.kind} {version}.", None, figures)


def models(server: KnownServer, options: Options) -> CheckResult:
    """Say which model would answer; a problem if none would."""
    why, listed_models = server.models_error, server.models
    figures = {"model": server.model, "listed": None if listed_models is None else len(listed_models)}
    problem = models_problem(server, options)
    if problem is not None:
        return CheckResult("models", Status.PROBLEM, f"{name_url(problem).rstrip('.')}.", None, figures)
    if listed_models is not None and options.model and options.model not in listed_models:
        shown = ", ".join(listed_models[:5]) or "no models"
        evidence = f"--model {options.model} is not listed; the server lists {shown}."
        return CheckResult(
            "models", Status.WARN, evidence, "If requests fail, name a listed model with --model.", figures
        )
    if why:
        evidence = f"The server does not list its models ({why}); {server.model} is asked for."
        return CheckResult("models", Status.OK, evidence, None, figures)
    return _listed_model(server, options, figures)


def _listed_model(server: KnownServer, options: Options, figures: Figures) -> CheckResult:
    names = server.models or ()
    rest = [name for name in names if name != server.model]
    others = f", and {things(len(rest), 'other')}: {listed(rest)}" if rest else ""
    if options.model:
        return CheckResult("models", Status.OK, f"{options.model}, as given.", None, figures)
    evidence = f"{server.model} would be used, the first chat model listed{others}." if others else f"{server.model}."
    return CheckResult("models", Status.OK, evidence, "Name another one with --model." if others else None, figures)


def context(server: KnownServer, options: Options) -> CheckResult:
    """Compare the context length with --input-tokens and --max-tokens."""
    limit, planned = server.max_model_len, options.input_tokens + options.max_tokens
    figures = {"context_tokens": limit, "planned_tokens": planned}
    asked = asked_lengths(options)
    if limit is None:
        evidence = f"The server does not say how long its context is; the plan needs {planned:,} tokens."
        return CheckResult("context", Status.UNKNOWN, evidence, None, figures)
    if (too_long := context_problem(server, options)) is not None:
        setting = _HOW_TO_LENGTHEN.get(server.kind)
        shorter = "Use a workload with shorter prompts" if options.workload else "Lower --input-tokens or --max-tokens"
        advice = shorter + (f", or raise the server's {setting}." if setting else ".")
        return CheckResult("context", Status.PROBLEM, f"{too_long}.", advice, figures)
    evidence = f"{limit:,} tokens; the plan needs {planned:,} ({asked})."
    return CheckResult("context", Status.OK, evidence, None, figures)
