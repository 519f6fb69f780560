"""Configuration of the run: the manifest, the profile's bounds, and the files of the run."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.measure.outcome import Outcome
from probe_ext.report.wording import shared_sentences
from probe_ext.report.wording.labels import label, value
from probe_ext.run import directory
from probe_ext.settings.slo import SloProfile, WholeAnswer
from probe_ext.verdict.evidence.columns import is_any
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import away, calibration, mapping, mappings, workers
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import capitalised, things


@dataclass(frozen=True)
class Block:
    """One group of facts."""

    name: str
    facts: Sequence[tuple[str, str]]
    rest: str = ""
    """keys without a value"""
    kind: str = ""
    """CSS class: `files`, or `raw` for long names"""


_FILES = (
    (directory.CAPACITY_JSON, "this verdict, for programs"),
    (directory.SUMMARY, "this verdict, as Markdown"),
    (directory.JUNIT, "this verdict, as JUnit XML for CI"),
    (directory.REQUESTS, "every reply started"),
    (directory.GAPS, "every gap of at least 0.25 s"),
    (directory.PAUSES, "every silent pause, and what the server did meanwhile"),
    (directory.USERS, "number of users over time"),
    (directory.SERVER, "server metrics"),
    (directory.SERVER_PROMETHEUS, "server metrics read from a Prometheus, used instead"),
    (directory.GPU, "GPU metrics"),
    (directory.SKETCHES, "tokens per second, and distributions per five seconds"),
    (f"{directory.LOCUST_PREFIX}_stats.csv", "Locust's own statistics"),
    (directory.MANIFEST, "configuration of the run"),
)
_ANSWER_OF_SEARCH = frozenset({"steps", "estimate", "interval", "seconds_left"})
_OF_REPORT = frozenset({directory.CAPACITY_JSON, directory.SUMMARY, directory.JUNIT, directory.PAUSES})


def files(present: Collection[str]) -> Block:
    """Return the files beside the page, which it links to. Those of the report are written with it."""
    known = {*present, *_OF_REPORT}
    return Block("Files beside this page", [entry for entry in _FILES if entry[0] in known], kind="files")


def model(manifest: Mapping[str, Any]) -> str:
    """Return the name of the model under test."""
    return shared_sentences.plain(mapping(manifest.get("target")).get("model"))


def facts(manifest: Mapping[str, Any], profiles: Sequence[SloProfile], levels: Sequence[Any]) -> list[str]:
    """Return the facts beside the badge."""
    generators = things(len(workers(manifest)), "load generator")
    length = f"{_levels(levels)}, {formats.span(_seconds(manifest.get('duration')))}"
    when = shared_sentences.when(shared_sentences.plain(manifest.get("started_at")))
    judged_by = f"SLO profile{'s' * (len(profiles) > 1)} {', '.join(profile.name for profile in profiles)}"
    return [f"model {model(manifest)}", judged_by, length, generators, when]


def _levels(levels: Sequence[Any]) -> str:
    """Return `6 levels in 13 visits`, `4 levels`, `9 bands`."""
    if any(level["band"] for level in levels):
        return things(len(levels), "band")
    numbers = len({level["users"] for level in levels})
    visits = f" in {len(levels)} visits" if len(levels) > numbers else ""
    return f"{things(numbers, 'level')}{visits}"


def why_no_server(manifest: Mapping[str, Any]) -> str:
    """Return why the server's metrics are missing; empty where they were read."""
    if manifest.get("prometheus"):
        return ""
    servers = mappings(manifest.get("server"))
    reasons = [
        f"{shared_sentences.plain(s.get('url'))}: {shared_sentences.plain(s.get('metrics'))}"
        for s in servers
        if s.get("metrics") != "ok"
    ]
    if len(reasons) < len(servers):
        return ""
    if servers and all(server.get("metrics") == "off" for server in servers):
        return "not asked for (--no-metrics)"
    return "; ".join(reasons) or "the server's metrics were not read"


def search_steps(search: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the steps of a search, in order."""
    steps = mappings(search.get("steps"))
    return [
        (
            things(users, "user") if isinstance(users := step.get("users"), int) else "number of users not known",
            _step(step, following),
        )
        for step, following in zip(steps, [*steps[1:], {}], strict=False)
    ]


def _users(step: Mapping[str, Any]) -> int:
    return users if isinstance(users := step.get("users"), int) else 0


def _step(step: Mapping[str, Any], following: Mapping[str, Any]) -> str:
    until = step.get("until", step.get("left"))  # `left` in schema 1
    if "measured_from" in step and step["measured_from"] is None:
        if until is None:
            return "not measured before the end"
        climbed = _users(following) > _users(step)
        why = "left for more users" if climbed else "left before it was measured"
        return f"short visit, {why}, until {formats.span(_seconds(until))}"
    if until is None:
        return f"{shared_sentences.plain(step.get('state'))}, until the end"
    return f"{shared_sentences.plain(step.get('state'))}, until {formats.span(_seconds(until))}"


def blocks(evidence: Evidence, name: str = "") -> list[Block]:
    """Return the manifest, group by group. `name`: of the run's directory, by which every command names the run."""
    manifest = evidence.manifest
    keys = ("run_id", "scenario", "locustfile", "started_at", "ended_at", "duration", "end_reason")
    named = {"directory": name} if name else {}
    blocks = [_block("Run", "run", {**named, **{key: manifest.get(key) for key in keys}})]
    blocks.append(_block("Target", "target", manifest.get("target")))
    for server in mappings(manifest.get("server")):
        blocks.append(_block("Server", "server", {key: value for key, value in server.items() if key != "cache"}))
        cache = [(str(key), shared_sentences.plain(value)) for key, value in mapping(server.get("cache")).items()]
        blocks.append(Block("KV-cache settings, as the server reports them", cache, kind="raw"))
    blocks.append(_block("Prometheus", "prometheus", _prometheus(manifest.get("prometheus"))))
    blocks.append(_block("Versions", "versions", manifest.get("versions")))
    plan = dict(mapping(manifest.get("plan"))) or {"levels": "set by hand"}
    search = mapping(plan.pop("search", None))
    blocks.append(_block("Load plan", "plan", plan))
    blocks.append(_block("Search", "search", _search(search, manifest.get("end_reason"))))
    blocks.append(Block("Search steps", search_steps(search)))
    warm_up = {key: value for key, value in mapping(manifest.get("warm_up")).items() if key != "rounds"}
    blocks.append(_block("Warm-up (not part of the run)", "warm_up", warm_up))
    blocks.append(_block("Prompts", "prompts", manifest.get("prompts")))
    for number, worker in enumerate(workers(manifest), 1):
        blocks.append(_block(f"Load generator {number}", "worker", _worker(worker)))
    accuracy = calibration(manifest) or {"measured_at": "not with these versions; run probe calibrate"}
    blocks.append(_block("Measurement accuracy on the master's machine", "calibration", accuracy))
    blocks.append(_block("Options", "options", manifest.get("options")))
    return [block for block in blocks if block.facts]


def _search(search: Mapping[str, Any], end_reason: object) -> dict[str, Any]:
    """Return the limits of a search and how it ended; its answer stands at the top, by all replies of the run."""
    facts = {key: value for key, value in search.items() if key not in _ANSWER_OF_SEARCH}
    if search and facts.get("outcome") is None:
        facts["outcome"] = value("end_reason", end_reason) if end_reason else "the run was killed, or is in progress"
    return facts


def _worker(worker: Mapping[str, Any]) -> dict[str, Any]:
    """Return a load generator's facts, with its clock drift and absences as text."""
    facts = {key: value for key, value in worker.items() if key not in ("clock_drift", "clock_line", "away")}
    drift = worker.get("clock_drift")
    if isinstance(drift, float) and drift:
        facts["clock_drift"] = f"{1e6 * drift:+.1f} ppm"
    spans = [f"from {formats.seconds(a)} to {'the end' if b is None else formats.seconds(b)}" for a, b in away(worker)]
    return facts | {"away": "; ".join(spans)} if spans else facts


def _prometheus(prometheus: object) -> Mapping[str, Any]:
    """Return what was read from a Prometheus, with one line for each server."""
    about = mapping(prometheus)
    facts = {key: about.get(key) for key in ("url", "match", "read_at", "clock_offset") if about.get(key) is not None}
    for number, server in enumerate(mappings(about.get("servers")), 1):
        labels = ", ".join(f"{name} {value}" for name, value in mapping(server.get("labels")).items())
        facts[f"server {number}"] = f"{labels}: {server.get('scrapes')} scrapes, every {server.get('every')} s"
    return facts


def profile_block(profile: SloProfile) -> Block:
    """Return the profile's bounds, one line each."""
    facts = [("description", profile.description)] if profile.description else []
    if profile.first_word:
        facts.append(("first word", f"{_at_most(profile.first_word)}; counted from {profile.first_word_from}"))
    if profile.typing:
        served, broken = formats.tick(profile.typing.served), formats.tick(profile.typing.strained)
        facts.append(("typing", f"served from {served} tokens/s, broken below {broken}"))
    if profile.silence:
        served, broken = formats.bound(profile.silence.served), formats.bound(profile.silence.strained)
        facts.append(("silence", f"served below {served}, broken from {broken}"))
    if profile.whole_answer:
        facts.append(("complete answer", _whole_answer(profile.whole_answer)))
    facts += [("answer", "broken for every failure of the server"), ("reasoning", profile.reasoning)]
    return Block(f"SLO profile {profile.name}", facts)


def counts(evidence: Evidence) -> str:
    """Compare Locust's count with probe's. Locust does not count replies that the load generator aborted."""
    aborted = is_any(evidence.replies, "outcome", {Outcome.ENDED_BY_US})
    ended = int(aborted.sum())
    ours = len(aborted) - ended
    recorded = f"probe recorded {things(ours, 'finished reply', 'finished replies')}"
    recorded += f" and {formats.count(ended)} that it aborted itself" if ended else ""
    if evidence.locust is None:
        return f"{capitalised(recorded)}; Locust's own statistics are missing."
    theirs = evidence.locust.requests
    if theirs == ours:
        return f"They agree: {recorded}; Locust counted {things(theirs, 'request')}."
    apart = f"{formats.count(abs(theirs - ours))} {'more' if theirs > ours else 'fewer'}"
    return f"They disagree: {recorded}, but Locust counted {things(theirs, 'request')} ({apart})."


def _at_most(bound: Any) -> str:
    return f"served up to {formats.bound(bound.served)}, broken past {formats.bound(bound.strained)}"


def _whole_answer(bound: WholeAnswer) -> str:
    if bound.served_rate is None or bound.strained_rate is None:
        return _at_most(bound)
    served, broken = (
        f"{formats.bound(seconds)} + n/{formats.tick(rate)}"
        for seconds, rate in ((bound.served, bound.served_rate), (bound.strained, bound.strained_rate))
    )
    return f"of n tokens: served up to {served} s, broken past {broken} s"


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _block(name: str, group: str, content: object) -> Block:
    """Return the keys that have a value, and a line with the names of the others."""
    is_option = group == "options"
    known = {str(k): v for k, v in mapping(content).items() if v is not None or k not in _USUALLY_EMPTY}
    empty = [key for key, v in known.items() if v is None or v in ("", [], {}) or (is_option and v is False)]
    facts = [(label(group, key), value(key, v)) for key, v in known.items() if key not in empty]
    names = ", ".join(label(group, key) for key in empty)
    rest = f"{'not used' if is_option or group == 'plan' else 'not known'}: {names}" if names else ""
    return Block(name, facts, rest)


_USUALLY_EMPTY = {"tls_verified", "lost_at", "left_at", "clock_drift", "models_error"}
"""Keys without a value where all is well: no TLS, not lost, no error."""
