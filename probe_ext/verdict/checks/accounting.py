"""Is every reply that was started accounted for?"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from probe_ext.measure.findings import FindingName, FindingState
from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.measure.table_rows import WARM_UP
from probe_ext.verdict.evidence.columns import is_any, numbers, text_counts
from probe_ext.verdict.evidence.evidence import Evidence
from probe_ext.verdict.evidence.manifest_view import away, number, search_of, workers
from probe_ext.verdict.phrasing.formats import moment, percent
from probe_ext.verdict.phrasing.plurals import capitalised, is_or_are, listed, things, was_or_were
from probe_ext.verdict.phrasing.plurals import levels as levels_named
from probe_ext.verdict.phrasing.worker_names import is_lone, worker_name
from probe_ext.verdict.results.stream_figures import compare_arrivals, replayed_arrivals, scheduled_arrivals
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.wording.early_end import (
    NO_ANSWER,
    RUN_AGAIN,
    is_interrupted,
    minutes_left,
    repeat_search,
    something_left,
    unmeasured,
)

MAX_CLIENT_FAULT_SHARE = 0.01
"""Share of replies that may fail through the load generator before the run is invalid."""

MAX_MISSING_SHARE = 0.01
"""Share of the arrivals of all levels that may be missing, or sent beyond the schedule, before the run is invalid."""
_KNOWN_OUTCOMES = frozenset(outcome.value for outcome in Outcome)
_MERGE_ADVICE = (
    "The worker's own requests-<worker>.csv may hold the missing rows: add them with probe merge. Its log may say what "
    "happened."
)


def account_checks(evidence: Evidence, levels: Sequence[LevelResult]) -> Iterator[Finding]:
    """Yield the checks of rows, workers, Locust's own counts, unreadable files, client faults and the run's end."""
    yield _accounted(evidence)
    yield from _arrivals(evidence, levels)
    yield _workers(evidence)
    yield _locust(evidence)
    yield _files(evidence)
    outcomes = text_counts(evidence.replies, "outcome")
    yield client_faults(outcomes.get(Outcome.CLIENT_ERROR, 0), outcomes.total())
    yield _ended(evidence, levels)


def _accounted(evidence: Evidence) -> Finding:
    """For every worker, the number of rows must equal the number of replies that it says it started."""
    rows = text_counts(evidence.replies, "worker")
    started = {str(w.get("id")): _started(w) for w in workers(evidence.manifest)}
    if not started or any(n is None for n in started.values()):
        why = f"{things(rows.total(), 'row')} found; how many replies were started is not known."
        return Finding("accounted", "unproven", True, why, "Let the run end by itself, so that every worker reports.")
    missing = {w: int(n or 0) - rows.get(w, 0) for w, n in started.items() if int(n or 0) != rows.get(w, 0)}
    total = int(sum(n or 0 for n in started.values()))
    if not missing:
        return Finding(
            "accounted", "pass", True, f"{things(total, 'reply', 'replies')} started, {_how_ended(evidence)}."
        )
    lost = sum(n for n in missing.values() if n > 0)
    if not evidence.manifest.get("ended_at") and lost <= _max_users(evidence):
        written, of = rows.total(), things(max(total, rows.total()), "started reply", "started replies")
        why = f"The run was killed; {things(written, 'row')} of at least {of} {was_or_were(written)} written."
        return Finding("accounted", "unproven", True, why, "Replies in flight at that moment have no row.")
    if lost and all(n <= _in_flight(evidence, w) for w, n in missing.items()):
        had = "has" if lost == 1 else "have"
        gone = things(lost, "reply", "replies")
        why = f"{_were_started(total)}; {gone} in flight on a lost worker {had} no row"
        return Finding("accounted", "fail", False, f"{why} ({_named(evidence, missing)}).", _MERGE_ADVICE)
    surplus = -sum(missing.values())
    why = f"{_were_started(total)}, but {things(lost, 'row')} {is_or_are(lost)} missing"
    why = why if lost else f"There {is_or_are(surplus)} {things(surplus, 'more row')} than replies that were started"
    advice = "Look for requests-<worker>.csv on the workers' machines and add them with probe merge."
    return Finding("accounted", "fail", True, f"{why} ({_named(evidence, missing)}).", advice)


def _how_ended(evidence: Evidence) -> str:
    """Return `all accounted for: 2,640 finished, 148 aborted by the run`: the counts that other checks are of."""
    aborted = int(is_any(evidence.replies, "outcome", {Outcome.ENDED_BY_US}).sum())
    if not aborted:
        return "all accounted for, none aborted by the run"
    total = text_counts(evidence.replies, "worker").total()
    return f"all accounted for: {total - aborted:,} finished or failed, {aborted:,} aborted by the run"


def _started(worker: Mapping[str, Any]) -> float | None:
    """Return how many replies a worker is known to have started; 0 if it was lost before it reported any."""
    started = number(worker, "started")
    return 0 if started is None and number(worker, "lost_at") is not None else started


def _were_started(replies: int) -> str:
    return f"{things(replies, 'reply', 'replies')} {was_or_were(replies)} started"


def _named(evidence: Evidence, worker_ids: Iterable[str]) -> str:
    return listed([worker_name(evidence.manifest, worker) for worker in sorted(worker_ids)])


def _in_flight(evidence: Evidence, worker: str) -> int:
    """Return how many replies a lost worker may have had in flight: one per user it ever had; 0 if it was not lost."""
    if not any(w.get("id") == worker and w.get("lost_at") is not None for w in workers(evidence.manifest)):
        return 0
    return len(text_counts(evidence.replies, "user", is_any(evidence.replies, "worker", {worker})))


def _max_users(evidence: Evidence) -> float:
    """Return the peak number of users, and so of replies in flight."""
    users = numbers(evidence.users, "users")
    return float(np.nanmax(users)) if (~np.isnan(users)).any() else 0.0


def _arrivals(evidence: Evidence, levels: Sequence[LevelResult]) -> Iterator[Finding]:
    """Compare scheduled arrivals with rows; nothing where users wait for replies, or no schedule is recorded.

    Where too many are missing or too many were sent within a level, its load was not what it is said to be.
    """
    if (due := replayed_arrivals(evidence.manifest)) is not None:
        yield _of_trace(evidence, *due)
        return
    scheduled = scheduled_arrivals(evidence.manifest)
    if scheduled is None or not scheduled.size:
        return
    found = compare_arrivals(scheduled, evidence.replies)
    missing, surplus = len(found.missing), len(found.surplus)
    what = f"{things(scheduled.size, 'arrival')} that the schedule asked for"
    if not found.size:
        yield _all_have_rows(scheduled.size, what)
        return
    within = sum(found.within(level.t_start, level.t_end).size for level in levels)
    spoilt = within > MAX_MISSING_SHARE * sum(level.replies for level in levels)
    faults = []
    if missing:
        have = "has" if missing == 1 else "have"
        faults.append(f"of the {what}, {missing:,} ({percent(missing / scheduled.size)}) {have} no row")
    if surplus:
        faults.append(f"{things(surplus, 'row')} of no scheduled arrival {was_or_were(surplus)} recorded")
    where = f"{within:,} of them in a level" if found.size > 1 else "in a level" if within else "outside all levels"
    why = f"{capitalised(listed(faults))}; {where}."
    advice = "A worker was lost, started too late, or missed a message: see the other findings, then repeat the run."
    yield Finding("arrivals", "fail", spoilt, why, advice)


def _of_trace(evidence: Evidence, due: int, uncertain: int) -> Finding:
    """Compare the requests of a trace that were due with rows."""
    rows = int((~is_any(evidence.replies, "scenario", {WARM_UP})).sum())
    what = f"{things(due, 'request')} of the trace that {was_or_were(due)} due"
    if abs(rows - due) <= uncertain:
        return _all_have_rows(due, what)
    spoilt = abs(rows - due) > MAX_MISSING_SHARE * due
    why = f"The run has {things(rows, 'row')} for the {what}."
    advice = "A worker was lost, started too late, or missed a message: see the other findings, then repeat the run."
    return Finding("arrivals", "fail", spoilt, why, advice)


def _all_have_rows(number: int, what: str) -> Finding:
    each = "The" if number == 1 else "Each of the"
    return Finding("arrivals", "pass", True, f"{each} {what} has a row, and no other was sent.")


def _workers(evidence: Evidence) -> Finding:
    """Find workers that were lost, out of contact, or never sent their final report."""
    known = workers(evidence.manifest)
    if not known:
        return Finding("workers", "unproven", False, "The run does not list its workers.")
    silent = [w for w in known if not w.get("last_word")]
    absences = [text for w in known if (text := _absence(w, worker_name(evidence.manifest, w.get("id"))))]
    if not silent and not absences:
        return _left_early(evidence, known)
    names = [worker_name(evidence.manifest, w.get("id")) for w in silent if not _absence(w, "")]
    why = listed([*absences, *(f"{name} never sent its final report" for name in names)])
    why = capitalised(why)
    if not silent:
        why += ". None of its rows is missing; replies sent meanwhile belong to no level."
        return Finding("workers", "fail", False, why, "Check that worker's log and network.")
    rows = text_counts(evidence.replies, "worker")
    have = sum(rows.get(str(w.get("id")), 0) for w in silent)
    arrived = f"{things(have, 'reply', 'replies')} of it {was_or_were(have)} recorded"
    why += f": {arrived}; how many more were in flight is not known."
    advice = "Its log may say what happened." if is_lone(evidence.manifest) else _MERGE_ADVICE
    return Finding("workers", "fail", False, why, advice)


def _absence(worker: Mapping[str, Any], name: str) -> str:
    """Describe when the master had no contact with a worker; empty where it always had."""
    spans = away(worker)
    lost = number(worker, "lost_at")
    gaps = [f"from {moment(since)} to {moment(until)}" for since, until in spans if until is not None]
    parts = [f"{name} was out of contact {listed(gaps)}"] if gaps else []
    if lost is not None:
        parts.append(f"{name} was lost at {moment(lost)}")
    return " and ".join(parts)


def _left_early(evidence: Evidence, known: list[Mapping[str, Any]]) -> Finding:
    """All workers sent their final report; some may have left before the end, along with their users."""
    gone = [(worker_name(evidence.manifest, w.get("id")), t) for w in known if (t := number(w, "left_at")) is not None]
    if not gone:
        sent = "The worker sent its" if len(known) == 1 else f"All {len(known):,} workers sent their"
        return Finding("workers", "pass", False, f"{sent} final report.")
    left = listed([f"{name} left at {moment(t)}" for name, t in sorted(gone, key=lambda one: one[1])])
    others = len(known) - len(gone)
    went_on = f"{things(others, 'worker')} went on" if others else "and no other was left"
    why = f"{capitalised(left)}, {went_on}. All sent their final report."
    advice = "Its users left with it: later levels are judged by the users that remained."
    return Finding("workers", "fail", False, why, advice)


def _locust(evidence: Evidence) -> Finding:
    """Locust must count as requests the replies that were not aborted, and as failures those that failed."""
    name: FindingName = "locust_counts"
    outcomes = text_counts(evidence.replies, "outcome")
    finished = outcomes.total() - outcomes.get(Outcome.ENDED_BY_US, 0)
    failed = sum(n for outcome, n in outcomes.items() if outcome in _KNOWN_OUTCOMES and is_failure(Outcome(outcome)))
    locust = evidence.locust
    if locust is None:
        return Finding(name, "unproven", False, "Locust's own statistics of the run are missing.")
    if (locust.requests, locust.failures) == (finished, failed):
        why = f"Locust counted the same: {things(finished, 'reply', 'replies')}, {failed:,} failed."
        return Finding(name, "pass", False, why)
    why = f"Locust counted {things(locust.requests, 'reply', 'replies')} ({locust.failures:,} failed), "
    why += f"probe recorded {finished:,} ({failed:,} failed)."
    advice = "This report uses probe's rows; Locust's statistics may lack what its workers sent last."
    return Finding(name, "fail", False, why, advice)


def _files(evidence: Evidence) -> Finding:
    """Report unreadable data. Bad lines among the replies are lost rows; a last line cut off by a kill is not."""
    if not evidence.damage:
        return Finding("files", "pass", False, "All files of the run were read completely.")
    lost = [line for line in evidence.damage if line.startswith("requests") and "cut off" not in line]
    why = f"Some data could not be read: {listed(list(evidence.damage), 3)}."
    advice = "Copy the run directory again from the machine that wrote it." if lost else ""
    return Finding("files", "fail", bool(lost), why, advice)


def client_faults(faults: int, replies: int) -> Finding:
    """Replies that failed through the load generator (no file descriptors left, an internal error) are left out."""
    if not faults:
        return Finding("client_faults", "pass", True, "No reply failed through a fault of the load generator.")
    few = faults <= MAX_CLIENT_FAULT_SHARE * replies
    failed = things(faults, "reply", "replies")
    why = f"{failed} failed through a fault of the load generator and {is_or_are(faults)} left out."
    advice = "See `message` in requests.csv; the most common cause is a low open-file limit (ulimit -n)."
    return Finding("client_faults", "fail", not few, why, advice)


_CUT_SHORT: dict[str, tuple[FindingState, str, str]] = {
    "workers_lost": ("fail", "the last worker was lost", "Check the workers' logs (memory, network)."),
    "workers_left": (
        "unproven",
        "the last worker left",
        "To end a run, stop its master; stopping a worker only removes it.",
    ),
    "prompts_changed": (
        "fail",
        "a prompt file was changed",
        "Leave the prompt files alone while a run goes on, and repeat it.",
    ),
}
"""By end_reason: state, when the run ended, and advice."""


def _still_needed(evidence: Evidence, levels: Sequence[LevelResult]) -> str:
    """Say what a run that ended early was still to do: the minutes of a search, or levels; empty if unknown."""
    if search := search_of(evidence.manifest):
        minutes = minutes_left(search)
        return f" The search needed about {minutes}." if minutes else " The search was not over."
    left = unmeasured(evidence.manifest, levels) if something_left(evidence, levels) else ()
    return f" Not measured: {levels_named(left)}." if left else ""


def _ended(evidence: Evidence, levels: Sequence[LevelResult]) -> Finding:
    """Did the run come to its planned end?"""
    reason = evidence.manifest.get("end_reason") if evidence.manifest.get("ended_at") else None
    if is_interrupted(evidence.manifest):
        why = f"The run was {reason} before its end: only what was measured until then is judged."
        search = search_of(evidence.manifest)
        advice = repeat_search(search) if search else RUN_AGAIN
        return Finding("ended", "unproven", False, f"{why}{_still_needed(evidence, levels)}", advice)
    if reason == NO_ANSWER:
        why = "The run ended after its warm-up, as no request was answered."
        return Finding("ended", "unproven", False, why, "Nothing was measured.")
    if isinstance(reason, str) and reason in _CUT_SHORT:
        state, when, advice = _CUT_SHORT[reason]
        return Finding("ended", state, False, f"The run ended when {when}.{_still_needed(evidence, levels)}", advice)
    if reason:
        return Finding("ended", "pass", False, f"The run ended as planned ({str(reason).replace('_', ' ')}).")
    why = "The run was killed or is still in progress: its last seconds are missing."
    return Finding("ended", "fail", False, why, "Only what was written is judged; let a run end by itself.")
