"""How it was run: the manifest in words, the profile's bounds, and the files behind the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.measure.outcome import Outcome
from probe_ext.report.wording import common_text
from probe_ext.report.wording.labels import label, value
from probe_ext.run import directory
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.values import formats
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.manifest_view import away
from probe_ext.verdict.values.plurals import things


@dataclass(frozen=True)
class Block:
    """One group of facts."""

    name: str
    facts: Sequence[tuple[str, str]]
    rest: str = ""
    """what was left as it is"""
    kind: str = ""
    """`files`: names and what is in them; `raw`: long names of others"""


FILES = Block(
    "Files beside this page",
    (
        (directory.MANIFEST, "how it was run"),
        (f"{directory.REQUESTS}, requests-*.csv", "every reply that was started"),
        (f"{directory.GAPS}, gaps-*.csv", "every gap of at least 0.25 s"),
        (directory.USERS, "how many users there were"),
        (directory.SERVER, "what the server said of itself"),
        (f"{directory.SERVER_PROMETHEUS}, .json", "the same from a Prometheus, where it was asked: taken instead"),
        (directory.SKETCHES, "token counts a second, and distributions by five seconds"),
        (f"{directory.LOCUST_PREFIX}_*.csv", "Locust's own tables"),
        (directory.PAUSES, "every silent pause, and what the server did meanwhile"),
        (directory.CAPACITY_JSON, "this verdict, for programs"),
        (directory.SUMMARY, "this verdict, for a pull request"),
        (directory.JUNIT, "this verdict, for CI"),
    ),
    kind="files",
)


def model(manifest: Mapping[str, Any]) -> str:
    """The model under test, as it was named."""
    return common_text.plain(_group(manifest.get("target")).get("model"))


def facts(manifest: Mapping[str, Any], profile: SloProfile, levels: Sequence[Any]) -> list[str]:
    """The line beside the badge."""
    workers = len(_groups(manifest.get("workers")))
    of = "band" if any(level["band"] for level in levels) else "level"
    length = f"{things(len(levels), of)}, {formats.span(_seconds(manifest.get('duration')))}"
    when = common_text.when(common_text.plain(manifest.get("started_at")))
    named = f"model {model(manifest)}"
    return [named, f"judged by the profile {profile.name}", length, things(workers, "load generator"), when]


def why_no_server(manifest: Mapping[str, Any]) -> str:
    """Why there are no figures of the server's own; "" where its metrics could be read."""
    if manifest.get("prometheus"):
        return ""
    servers = _groups(manifest.get("server"))
    told = [
        f"{common_text.plain(s.get('url'))}: {common_text.plain(s.get('metrics'))}"
        for s in servers
        if s.get("metrics") != "ok"
    ]
    if len(told) < len(servers):
        return ""
    return "; ".join(told) or "the server's metrics were not read"


def _steps(searched: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each visit of a search to a level, in order."""
    return [
        (
            things(users, "user") if isinstance(users := step.get("users"), int) else "users unknown",
            _step(step),
        )
        for step in _groups(searched.get("steps"))
    ]


def _step(step: Mapping[str, Any]) -> str:
    proven = ", proven" if step.get("proven") is True else ""
    return f"{common_text.plain(step.get('state'))}{proven}, left at {formats.span(_seconds(step.get('left')))}"


def blocks(evidence: Evidence) -> list[Block]:
    """The manifest, group by group, and the files."""
    manifest = evidence.manifest
    keys = ("run_id", "scenario", "locustfile", "started_at", "ended_at", "duration", "end_reason")
    found = [_block("Run", "run", {key: manifest.get(key) for key in keys})]
    found.append(_block("Target", "target", manifest.get("target")))
    for server in _groups(manifest.get("server")):
        found.append(_block("Server", "server", {key: one for key, one in server.items() if key != "cache"}))
        cache = [(str(key), common_text.plain(one)) for key, one in _group(server.get("cache")).items()]
        found.append(Block("The server's cache, in its own words", cache, kind="raw"))
    found.append(_block("Server's figures, from a Prometheus", "prometheus", _asked(manifest.get("prometheus"))))
    found.append(_block("Versions", "versions", manifest.get("versions")))
    plan = dict(_group(manifest.get("plan"))) or {"levels": "driven by hand"}
    searched = _group(plan.pop("search", None))
    found.append(_block("Load plan", "plan", plan))
    found.append(_block("Search", "search", {key: one for key, one in searched.items() if key != "steps"}))
    found.append(Block("Search, step by step", _steps(searched)))
    warmed = {key: value for key, value in _group(manifest.get("warm_up")).items() if key != "rounds"}
    found.append(_block("Warm-up, before the run and no part of it", "warm_up", warmed))
    found.append(_block("Prompts", "prompts", manifest.get("prompts")))
    for number, worker in enumerate(_groups(manifest.get("workers")), 1):
        found.append(_block(f"Load generator {number}", "worker", _worker(worker)))
    ruler = manifest.get("calibration") or {"measured_at": "not with these versions: probe calibrate does it"}
    found.append(_block("The ruler, calibrated on the master's machine", "calibration", ruler))
    found.append(_block("Options", "options", manifest.get("options")))
    return [block for block in found if block.facts]


def _worker(worker: Mapping[str, Any]) -> dict[str, Any]:
    """A load generator's facts; how its clock ran and when it was not heard in words."""
    told = {key: value for key, value in worker.items() if key not in ("clock_drift", "clock_line", "away")}
    drift = worker.get("clock_drift")
    if isinstance(drift, float) and drift:
        told["clock_drift"] = f"{1e6 * drift:+.1f} millionths"
    spans = [f"from {formats.seconds(a)} to {'the end' if b is None else formats.seconds(b)}" for a, b in away(worker)]
    return told | {"away": "; ".join(spans)} if spans else told


def _asked(prometheus: object) -> Mapping[str, Any]:
    """What was read of a Prometheus, in place of what was polled; a line for each server."""
    asked = _group(prometheus)
    said = {key: asked.get(key) for key in ("url", "match", "read_at", "clock_offset") if asked.get(key) is not None}
    for number, server in enumerate(_groups(asked.get("servers")), 1):
        labels = ", ".join(f"{name} {value}" for name, value in _group(server.get("labels")).items())
        said[f"server {number}"] = f"{labels}: {server.get('scrapes')} scrapes, every {server.get('every')} s"
    return said


def profile_block(profile: SloProfile) -> Block:
    """The profile's bounds, a line each."""
    said = [("what", profile.description)] if profile.description else []
    if profile.first_word:
        said.append(("first word", f"{_at_most(profile.first_word)}; counted from {profile.first_word_from}"))
    if profile.typing:
        served, broken = formats.tick(profile.typing.served), formats.tick(profile.typing.strained)
        said.append(("typing", f"served from {served} tokens/s, broken below {broken}"))
    if profile.silence:
        served, broken = formats.bound(profile.silence.served), formats.bound(profile.silence.strained)
        said.append(("silence", f"served below {served}, broken from {broken}"))
    if profile.whole_answer:
        said.append(("whole answer", _at_most(profile.whole_answer)))
    said += [("answer", "every ending that the server caused is broken"), ("reasoning", profile.reasoning)]
    return Block(f"Judged by the profile {profile.name}", said)


def counts(evidence: Evidence) -> str:
    """Whether Locust's count and ours agree. A reply that we ended is none of Locust's requests."""
    outcomes = evidence.replies["outcome"]
    ended = int((outcomes == Outcome.ENDED_BY_US).sum())
    ours = len(outcomes) - ended
    said = f"{things(ours, 'finished reply').replace('replys', 'replies')} in our own tables"
    unfinished = f", and {formats.count(ended)} that we ended ourselves" if ended else ""
    if evidence.locust is None:
        return f"{said}{unfinished}; Locust's own table is not there to compare with."
    theirs = evidence.locust.requests
    if theirs == ours:
        return f"{said}{unfinished}; Locust counted the same {formats.count(theirs)} requests."
    return (
        f"They disagree: {said}{unfinished}, but Locust counted {formats.count(theirs)} requests "
        f"({formats.count(abs(theirs - ours))} {'more' if theirs > ours else 'fewer'})."
    )


def _at_most(bound: Any) -> str:
    return f"served up to {formats.bound(bound.served)}, broken past {formats.bound(bound.strained)}"


def _group(value: object) -> Mapping[str, Any]:
    """A group of the manifest; nothing where something else stands in its place."""
    return value if isinstance(value, Mapping) else {}


def _groups(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _block(name: str, group: str, told: object) -> Block:
    """What was said, and in one line the names of what was not."""
    is_option = group == "options"
    said = {str(key): one for key, one in _group(told).items() if one is not None or key not in _NOTHING_TO_SAY}
    unset = [key for key, one in said.items() if one is None or one in ("", [], {}) or (is_option and one is False)]
    facts = [(label(group, key), value(key, one)) for key, one in said.items() if key not in unset]
    lacking = ", ".join(label(group, key) for key in unset)
    rest = f"{'not used' if is_option else 'not known'}: {lacking}" if lacking else ""
    return Block(name, facts, rest)


_NOTHING_TO_SAY = {"tls_verified", "lost_at", "left_at", "clock_drift", "models_error"}
"""keys that are empty where all is well: no TLS, not lost, no error"""
