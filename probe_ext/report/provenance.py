"""How it was run: the manifest in words, the profile's bounds, and the files behind the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from probe_ext.measure.outcome import Outcome
from probe_ext.report import words
from probe_ext.run import directory
from probe_ext.settings.slo import SloProfile
from probe_ext.verdict.evidence import Evidence

_SECONDS = {
    *("hold", "settle", "drain", "patience", "metrics_every", "clock_offset", "clock_error", "cpu_seconds"),
    *("seconds", "slowest_reply", "loop_lag_max", "timeout_connect", "timeout_first", "timeout_gap", "timeout_total"),
}
"""keys of the manifest whose values are seconds"""


@dataclass(frozen=True)
class Block:
    """One group of facts."""

    name: str
    facts: Sequence[tuple[str, str]]


FILES = Block(
    "Files beside this page",
    (
        (directory.MANIFEST, "how it was run"),
        (f"{directory.REQUESTS}, requests-*.csv", "every reply that was started"),
        (f"{directory.GAPS}, gaps-*.csv", "every gap of at least 0.25 s"),
        (directory.USERS, "how many users there were"),
        (directory.SERVER, "what the server said of itself"),
        (directory.SKETCHES, "token counts a second, and distributions by five seconds"),
        (f"{directory.LOCUST_PREFIX}_*.csv", "Locust's own tables"),
        (directory.PAUSES, "every silent pause, and what the server did meanwhile"),
        (directory.CAPACITY_JSON, "this verdict, for programs"),
        (directory.SUMMARY, "this verdict, for a pull request"),
        (directory.JUNIT, "this verdict, for CI"),
    ),
)


def model(manifest: Mapping[str, Any]) -> str:
    """The model under test, as it was named."""
    return words.plain(_group(manifest.get("target")).get("model"))


def facts(manifest: Mapping[str, Any], profile: SloProfile, levels: Sequence[Any]) -> list[str]:
    """The line beside the badge."""
    workers = len(_groups(manifest.get("workers")))
    of = "band" if any(level["band"] for level in levels) else "level"
    length = f"{words.many(len(levels), of)}, {words.span(_seconds(manifest.get('duration')))}"
    when = words.plain(manifest.get("started_at"))
    return [model(manifest), f"profile: {profile.name}", length, words.many(workers, "worker"), when]


def why_no_server(manifest: Mapping[str, Any]) -> str:
    """Why there are no figures of the server's own; "" where its metrics could be read."""
    servers = _groups(manifest.get("server"))
    told = [
        f"{words.plain(s.get('url'))}: {words.plain(s.get('metrics'))}" for s in servers if s.get("metrics") != "ok"
    ]
    if len(told) < len(servers):
        return ""
    return "; ".join(told) or "the server's metrics were not read"


def blocks(evidence: Evidence) -> list[Block]:
    """The manifest, group by group, and the files."""
    manifest = evidence.manifest
    run = [(k, manifest.get(k)) for k in ("run_id", "scenario", "locustfile", "started_at", "ended_at", "end_reason")]
    run.insert(5, ("duration", words.span(_seconds(manifest.get("duration")))))
    found = [Block("Run", _told(dict(run))), Block("Target", _told(manifest.get("target")))]
    for server in _groups(manifest.get("server")):
        found.append(Block("Server", _told(server)))
    found.append(Block("Versions", _told(manifest.get("versions"))))
    found.append(Block("Load plan", _told(manifest.get("plan")) or [("levels", "driven by hand")]))
    warmed = {key: value for key, value in _group(manifest.get("warm_up")).items() if key != "rounds"}
    found.append(Block("Warm-up, before the run and no part of it", _told(warmed)))
    found.append(Block("Prompts", _told(manifest.get("prompts"))))
    for worker in _groups(manifest.get("workers")):
        found.append(Block(f"Worker {words.plain(worker.get('id'))}", _told(worker)))
    found.append(Block("Options", _told(manifest.get("options"))))
    return [block for block in found if block.facts]


def profile_block(profile: SloProfile) -> Block:
    """The profile's bounds, a line each."""
    said = [("what", profile.description)] if profile.description else []
    if profile.first_word:
        said.append(("first word", f"{_at_most(profile.first_word)}; counted from {profile.first_word_from}"))
    if profile.typing:
        served, broken = words.tick(profile.typing.served), words.tick(profile.typing.strained)
        said.append(("typing", f"served from {served} tokens/s, broken below {broken}"))
    if profile.silence:
        served, broken = words.bound(profile.silence.served), words.bound(profile.silence.strained)
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
    said = f"{words.many(ours, 'finished reply').replace('replys', 'replies')} in our own tables"
    unfinished = f", and {words.count(ended)} that we ended ourselves" if ended else ""
    if evidence.locust is None:
        return f"{said}{unfinished}; Locust's own table is not there to compare with."
    theirs = evidence.locust.requests
    if theirs == ours:
        return f"{said}{unfinished}; Locust counted the same {words.count(theirs)} requests."
    return (
        f"They disagree: {said}{unfinished}, but Locust counted {words.count(theirs)} requests "
        f"({words.count(abs(theirs - ours))} {'more' if theirs > ours else 'fewer'})."
    )


def _at_most(bound: Any) -> str:
    return f"served up to {words.bound(bound.served)}, broken past {words.bound(bound.strained)}"


def _group(value: object) -> Mapping[str, Any]:
    """A group of the manifest; nothing where something else stands in its place."""
    return value if isinstance(value, Mapping) else {}


def _groups(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _told(group: object) -> list[tuple[str, str]]:
    return [(str(key).replace("_", " "), _value(str(key), value)) for key, value in _group(group).items()]


def _value(key: str, value: object) -> str:
    timed = key in _SECONDS and isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:g} s" if timed else words.plain(value)
