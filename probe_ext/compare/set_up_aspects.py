"""In what do set-ups differ? What is meant to differ is compared; what must not would explain a difference as well."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from probe_ext.compare.replies import Lengths
from probe_ext.compare.set_up import Run, SetUp
from probe_ext.compare.values import Aspect, Aspects
from probe_ext.verdict.evidence.manifest_view import mapping, servers, workers
from probe_ext.verdict.phrasing.formats import count, percent
from probe_ext.verdict.phrasing.plurals import listed, things
from probe_ext.verdict.wording.headline import altered_replies

WAIVABLE: tuple[Aspect, ...] = ("slo", "workload", "prompts", "levels", "output_lengths", "cache", "client")
"""what `--meant` accepts"""
NAMES: Mapping[Aspect, str] = {
    "host": "server",
    "model": "model",
    "server": "software",
    "version": "version",
    "max_model_len": "context length",
    "server_setting": "server setting",
    "runs": "repeated runs",
    "slo": "SLO profile",
    "workload": "workload",
    "prompts": "prompts",
    "levels": "levels",
    "output_lengths": "output lengths",
    "cache": "prefix cache",
    "client": "client machine",
    "altered_replies": "replies",
    "validity": "validity",
}
PLURAL: frozenset[Aspect] = frozenset({"runs", "prompts", "levels", "output_lengths", "altered_replies"})
"""aspects with a name in the plural"""
_WORKLOAD_OPTIONS = (
    "api", "no_stream", "max_tokens", "ignore_eos", "temperature", "top_p", "body", "patience", "reconnect",
    "think_time",
)  # fmt: skip
MAX_LENGTH_RATIO, MAX_PROMPT_RATIO, MAX_CACHED_DIFFERENCE = 1.05, 1.10, 0.05
CERTAIN = 2.6
"""standard errors by which output lengths must differ"""
UNKNOWN, AS_USUAL = "not known", "as usual"


def meant(set_ups: Sequence[SetUp]) -> list[Aspects]:
    """Return what differs between the servers: address, model, software, version and settings."""
    facts = [_server_facts(set_up.runs[0]) for set_up in set_ups]
    keys = dict.fromkeys(key for one in facts for key in one)
    found = []
    for aspect, name in keys:
        values = tuple(one.get((aspect, name), UNKNOWN) for one in facts)
        # A run of which only its capacity.json is left may have the same.
        if len({value for value, one in zip(values, facts, strict=True) if one}) > 1:
            found.append(Aspects(aspect, name, values))
    return found


def _server_facts(run: Run) -> dict[tuple[Aspect, str], str]:
    manifest = run.manifest or {}
    target, (server, *_) = mapping(manifest.get("target")), (*servers(manifest), {})
    named: list[tuple[Aspect, Any]] = [
        ("host", target.get("host")),
        ("model", target.get("model")),
        ("server", server.get("kind")),
        ("version", server.get("version")),
        ("max_model_len", server.get("max_model_len")),
    ]
    facts = {(aspect, NAMES[aspect]): _shown(value) for aspect, value in named if value not in (None, "")}
    settings = mapping(server.get("cache"))
    setting: Aspect = "server_setting"
    return facts | {(setting, str(key)): _shown(value) for key, value in settings.items() if value is not None}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= 80 else text[:80] + "…"


def must_be_equal(set_ups: Sequence[SetUp]) -> list[Aspects]:
    """Return what differs although nothing could be concluded then, each with the reason."""
    return [*_invalid(set_ups), *_different_repetitions(set_ups), *_different_conditions(set_ups)]


def _invalid(set_ups: Sequence[SetUp]) -> Iterator[Aspects]:
    verdicts = tuple(set_up.verdict for set_up in set_ups)
    if "invalid" in verdicts:
        bad = [finding["why"] for set_up in set_ups for run in set_up.runs for finding in run.capacity["findings"]
               if finding["state"] == "fail" and finding["invalidates"]]  # fmt: skip
        yield Aspects(
            "validity", NAMES["validity"], verdicts, f"a run is invalid: {bad[0] if bad else 'see its report'}"
        )
    altered = tuple(map(_altered, set_ups))
    if any(text != AS_USUAL for text in altered):
        yield Aspects("altered_replies", NAMES["altered_replies"], altered, "some replies are not the model's own")


def _altered(set_up: SetUp) -> str:
    found = {altered_replies(run.capacity["diagnosis"]["bounds"]) for run in set_up.runs} - {""}
    return listed(sorted(found)) or AS_USUAL


def _different_repetitions(set_ups: Sequence[SetUp]) -> Iterator[Aspects]:
    """Runs that are said to repeat one set-up, but are of servers that differ."""
    for number, set_up in enumerate(set_ups):
        facts = [{key: value for key, value in _server_facts(run).items() if key[0] != "host"} for run in set_up.runs]
        if any(one != facts[0] for one in facts):
            names = sorted({key[1] for one in facts for key in {*one, *facts[0]} if one.get(key) != facts[0].get(key)})
            values = tuple(listed(names) if n == number else "alike" for n in range(len(set_ups)))
            yield Aspects("runs", NAMES["runs"], values, f"the runs of {set_up.name} are not of one set-up")


def _different_conditions(set_ups: Sequence[SetUp]) -> Iterator[Aspects]:
    for aspect, read, why in _CONDITIONS:
        by_set_up = [{read(run) for run in set_up.runs} - {None} for set_up in set_ups]
        if len(set().union(*by_set_up)) > 1:
            values = tuple(listed(sorted(map(str, found))) or UNKNOWN for found in by_set_up)
            yield Aspects(aspect, NAMES[aspect], values, why)
    yield from _different_prompts(set_ups)
    yield from _different_lengths(set_ups)
    yield from _different_caching(set_ups)


def _profile(run: Run) -> str | None:
    profile = mapping(run.capacity.get("profile"))
    bounds = ("first_word", "first_word_from", "typing", "silence", "whole_answer", "reasoning", "users", "level")
    parts = [f"{key} {_flat(profile.get(key))}" for key in bounds if profile.get(key) is not None]
    return f"{profile.get('name')}: {'; '.join(parts)}" if profile else None


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_shown(inner)}" for key, inner in value.items())
    return _shown(value)


def _workload(run: Run) -> str | None:
    if run.manifest is None:
        return None
    options = mapping(run.manifest.get("options"))
    given = [
        f"{key.replace('_', ' ')} {_flat(options[key])}"
        for key in _WORKLOAD_OPTIONS
        if options.get(key) not in (None, False)
    ]
    file = PurePath(str(run.manifest.get("locustfile") or "")).name
    return ", ".join([str(run.manifest.get("scenario")), file, *given, *_stated_workload(run.manifest)])


def _stated_workload(manifest: Mapping[str, Any]) -> list[str]:
    """Return the workload's name, and a mark of its contents: two of one name may differ."""
    workload = mapping(manifest.get("workload"))
    if not workload:
        return []
    text = json.dumps({key: value for key, value in workload.items() if key != "profiles"}, sort_keys=True, default=str)
    return [f"workload {workload.get('name')} ({hashlib.sha256(text.encode()).hexdigest()[:8]})"]


def _prompts(run: Run) -> str | None:
    prompts = mapping((run.manifest or {}).get("prompts"))
    if not prompts:
        return None
    return f"{prompts.get('input_tokens')} tokens, {prompts.get('shared_prefix_tokens') or 0} shared"


def _levels(run: Run) -> str | None:
    plan = mapping((run.manifest or {}).get("plan"))
    if not plan:
        return None if run.manifest is None else "set by hand"
    search = mapping(plan.get("search"))
    if search:
        return f"search up to {search.get('max_users')}"
    levels = plan.get("levels")
    return ", ".join(map(str, sorted(set(levels)))) if isinstance(levels, list) else "set by hand"


def _client(run: Run) -> str | None:
    return ", ".join(sorted(_worker_counts(run))) or None


def _worker_counts(run: Run) -> Counter[str]:
    return Counter(str(worker.get("host")) for worker in workers(run.manifest or {}))


def other_worker_counts(set_ups: Sequence[SetUp]) -> list[Aspects]:
    """Return how many workers made each load if the same machines ran other numbers of them.

    It may differ: each run's own checks show whether its workers kept up.
    """
    counts = [[_worker_counts(run) for run in set_up.runs] for set_up in set_ups]
    known = [one for runs in counts for one in runs if one]
    if len({frozenset(one) for one in known}) != 1 or all(one == known[0] for one in known):
        return []
    texts = (sorted({_counts_text(one) for one in runs if one}) for runs in counts)
    return [Aspects("client", "load generator", tuple("; ".join(found) or UNKNOWN for found in texts))]


def _counts_text(counts: Counter[str]) -> str:
    if len(counts) == 1:
        return things(counts.total(), "worker process", "worker processes")
    return ", ".join(f"{number} on {host}" for host, number in sorted(counts.items()))


def _warmed(run: Run) -> str | None:
    if run.manifest is None:
        return None
    return "warmed up before the run" if run.manifest.get("warm_up") else "not warmed up"


_CONDITIONS: tuple[tuple[Aspect, Callable[[Run], str | None], str], ...] = (
    ("slo", _profile, "“served” means something else; judge all runs by one profile with --slo"),
    ("workload", _workload, "the requests were of another kind"),
    ("prompts", _prompts, "longer prompts are more work, on any server"),
    ("levels", _levels, "other numbers of users were tried"),
    ("cache", _warmed, "one server was warmed up and another wasn't"),
    ("client", _client, "the load came from other machines, which also took the times"),
)


def _different_prompts(set_ups: Sequence[SetUp]) -> Iterator[Aspects]:
    """Prompts that the servers count differently, although they were made for one length."""
    found = [_over_runs(set_up, lambda replies: replies.tokens_in) for set_up in set_ups]
    if _ratio(found) > MAX_PROMPT_RATIO:
        values = tuple(f"{count(value)} tokens on average" if value else UNKNOWN for value in found)
        yield Aspects("prompts", NAMES["prompts"], values, "the servers counted prompts of other lengths")


def _different_lengths(set_ups: Sequence[SetUp]) -> Iterator[Aspects]:
    """Output lengths that differ by more than MAX_LENGTH_RATIO, and by more than chance, from those of the first."""
    first, differ = _lengths(set_ups[0]), False
    for set_up in set_ups[1:]:
        ratio, error = _length_ratio(first, _lengths(set_up))
        differ |= abs(ratio) > max(math.log(MAX_LENGTH_RATIO), CERTAIN * error)
    if differ:
        means = [_mean_length(_lengths(set_up)) for set_up in set_ups]
        values = tuple(f"{mean:.0f} tokens on average" if mean else UNKNOWN for mean in means)
        yield Aspects("output_lengths", NAMES["output_lengths"], values, "longer replies take longer, on any server")


def _lengths(set_up: SetUp) -> dict[int, list[Lengths]]:
    lengths: dict[int, list[Lengths]] = {}
    for replies in set_up.replies:
        for users, found in replies.tokens_out.items():
            lengths.setdefault(users, []).append(found)
    return lengths


def _length_ratio(first: Mapping[int, list[Lengths]], other: Mapping[int, list[Lengths]]) -> tuple[float, float]:
    """Return the logarithm of the ratio over their common levels, and its standard error."""
    logs, weights = [], []
    for users in first.keys() & other.keys():
        (a, a_error), (b, b_error) = _joined(first[users]), _joined(other[users])
        if a > 0 and b > 0:
            logs.append(math.log(b / a))
            weights.append(1 / max(1e-6, (a_error / a) ** 2 + (b_error / b) ** 2))
    if not logs:
        return 0.0, math.inf
    return sum(w * x for w, x in zip(weights, logs, strict=True)) / sum(weights), sum(weights) ** -0.5


def _joined(found: Sequence[Lengths]) -> tuple[float, float]:
    replies = sum(one.replies for one in found)
    mean = sum(one.mean * one.replies for one in found) / replies
    return mean, math.sqrt(sum((one.error * one.replies) ** 2 for one in found)) / replies


def _mean_length(lengths: Mapping[int, list[Lengths]]) -> float | None:
    found = [one for several in lengths.values() for one in several]
    return _joined(found)[0] if found else None


def _different_caching(set_ups: Sequence[SetUp]) -> Iterator[Aspects]:
    found = [_over_runs(set_up, lambda replies: replies.cached) for set_up in set_ups]
    known = [share for share in found if share is not None]
    if known and max(known) - min(known) > MAX_CACHED_DIFFERENCE:
        values = tuple(UNKNOWN if share is None else f"{percent(share)} of the prompts cached" for share in found)
        yield Aspects("cache", NAMES["cache"], values, "one server found more of the prompts in its cache")


def _over_runs(set_up: SetUp, read: Callable[[Any], float | None]) -> float | None:
    found = [value for replies in set_up.replies if (value := read(replies)) is not None]
    return sum(found) / len(found) if found else None


def _ratio(found: Sequence[float | None]) -> float:
    known = [value for value in found if value]
    return max(known) / min(known) if known else 1.0


def not_checked(set_ups: Sequence[SetUp], waived: Collection[str]) -> list[str]:
    """Return what must be equal and is not known of every set-up."""
    runs = [run for set_up in set_ups for run in set_up.runs]
    unknown = [NAMES[aspect] for aspect, read, _ in _CONDITIONS
               if aspect not in waived and any(read(run) is None for run in runs)]  # fmt: skip
    if any(run.replies is None for run in runs):
        unknown += [NAMES["output_lengths"]]
    return list(dict.fromkeys(unknown))
