"""Is every reply that was started accounted for?"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from probe_ext.measure.outcome import Outcome, is_failure
from probe_ext.verdict.values.columns import numbers, texts
from probe_ext.verdict.values.evidence import Evidence
from probe_ext.verdict.values.finding import Finding
from probe_ext.verdict.values.formats import moment
from probe_ext.verdict.values.level_result import LevelResult
from probe_ext.verdict.values.manifest_view import away, number, workers
from probe_ext.verdict.values.plurals import listed, things
from probe_ext.verdict.values.worker_names import worker_name
from probe_ext.verdict.wording.early_end import something_left

TOLERATED_FAULTS = 0.01
"""so many of the replies may have failed by our own fault before the run is not to be believed"""


def account_checks(evidence: Evidence, levels: Sequence[LevelResult]) -> Iterator[Finding]:
    """Rows against what was started, lost workers, Locust's own count, damaged files, our own faults."""
    yield _accounted(evidence)
    yield _workers(evidence)
    yield _locust(evidence)
    yield _files(evidence)
    yield _our_faults(evidence)
    yield _ended(evidence, levels)


def _accounted(evidence: Evidence) -> Finding:
    """started = rows, for every worker. The rows are counted, not taken from the manifest's word."""
    rows = Counter(texts(evidence.replies, "worker"))
    started = {str(w.get("id")): number(w, "started") for w in workers(evidence.manifest)}
    if not started or any(n is None for n in started.values()):
        why = f"How many replies were started is not known; {things(rows.total(), 'row')} were found."
        return Finding("accounted", "unproven", True, why, "Let the run end by itself, so that every worker reports.")
    wrong = {w: int(n or 0) - rows.get(w, 0) for w, n in started.items() if int(n or 0) != rows.get(w, 0)}
    total = int(sum(n or 0 for n in started.values()))
    if not wrong:
        return Finding("accounted", "pass", True, f"{things(total, 'reply', 'replies')} started, all accounted for.")
    missing = sum(n for n in wrong.values() if n > 0)
    if not evidence.manifest.get("ended_at") and missing <= _most_users(evidence):
        least = max(total, rows.total())
        why = f"The run was killed; {things(rows.total(), 'row')} of at least {least:,} started replies are here."
        return Finding("accounted", "unproven", True, why, "Replies in flight at that moment left no row.")
    if missing and all(n <= _in_hand(evidence, w) for w, n in wrong.items()):
        gone = things(missing, "reply", "replies")
        why = f"{total:,} replies were started; {gone} that a lost worker had in hand left no row"
        return Finding("accounted", "fail", False, f"{why} ({_named(evidence, wrong)}).", _MERGE)
    why = f"{total:,} replies were started, but {things(missing, 'row')} of them are missing"
    why = why if missing else f"There are {things(-sum(wrong.values()), 'row')} more than replies that were started"
    advice = "Look for requests-<worker>.csv on the workers' machines; probe merge puts them into the run."
    return Finding("accounted", "fail", True, f"{why} ({_named(evidence, wrong)}).", advice)


def _named(evidence: Evidence, workers_of: Iterable[str]) -> str:
    return listed([worker_name(evidence.manifest, w) for w in sorted(workers_of)])


def _in_hand(evidence: Evidence, worker: str) -> int:
    """How many replies a lost worker may have had in flight: one a user that it ever had; of others, none."""
    if not any(w.get("id") == worker and w.get("lost_at") is not None for w in workers(evidence.manifest)):
        return 0
    users = {
        u
        for u, w in zip(texts(evidence.replies, "user"), texts(evidence.replies, "worker"), strict=True)
        if w == worker
    }
    return len(users)


def _most_users(evidence: Evidence) -> float:
    """As many replies may have been in flight at once, one a user."""
    users = numbers(evidence.users, "users")
    return float(np.nanmax(users)) if (~np.isnan(users)).any() else 0.0


def _workers(evidence: Evidence) -> Finding:
    """A worker that vanished, or whose last word never came. What it had not sent is unknown, not nothing."""
    known = workers(evidence.manifest)
    if not known:
        return Finding("workers", "unproven", False, "The run does not say which workers it had.")
    silent = [w for w in known if not w.get("last_word")]
    absent = [told for w in known if (told := _absence(w, worker_name(evidence.manifest, w.get("id"))))]
    if not silent and not absent:
        return _with_last_words(evidence, known)
    names = [worker_name(evidence.manifest, w.get("id")) for w in silent if not _absence(w, "")]
    quiet = [f"{name} never reported its end" for name in names]
    why = listed([*absent, *quiet])
    if not silent:
        why += ". Every row of it is here; what was sent meanwhile is in no level."
        return Finding("workers", "fail", False, why[:1].upper() + why[1:], "Look into that worker's log (network).")
    rows = Counter(texts(evidence.replies, "worker"))
    have = sum(rows.get(str(w.get("id")), 0) for w in silent)
    why += f": {things(have, 'reply', 'replies')} of it are here, how many more it had in hand is unknown."
    return Finding("workers", "fail", False, why[:1].upper() + why[1:], _MERGE)


_MERGE = (
    "Its own requests-<worker>.csv may hold what is missing: probe merge puts it in. Its log may say what happened."
)


def _absence(worker: Mapping[str, Any], name: str) -> str:
    """When it was not heard, in words; "" where it always was."""
    spans = away(worker)
    lost = number(worker, "lost_at")
    back = [f"from {moment(since)} to {moment(until)}" for since, until in spans if until is not None]
    told = [f"{name} was not heard {listed(back)}"] if back else []
    if lost is not None:
        told.append(f"{name} was lost at {moment(lost)}")
    return " and ".join(told)


def _with_last_words(evidence: Evidence, known: list[Mapping[str, Any]]) -> Finding:
    """All gave their last word; some perhaps before the run was over, and their users went with them."""
    gone = [(w.get("id"), t) for w in known if (t := number(w, "left_at")) is not None]
    early = [(worker_name(evidence.manifest, worker), t) for worker, t in gone]
    if not early:
        return Finding("workers", "pass", False, f"{things(len(known), 'worker')}, each with its last word.")
    left = listed([f"{name} left at {moment(t)}" for name, t in sorted(early, key=lambda one: one[1])])
    others = len(known) - len(early)
    went_on = f"{things(others, 'worker')} went on" if others else "no other was there to go on"
    why = f"{left[:1].upper()}{left[1:]}, {went_on}. All gave their last word."
    advice = "Its users went with it: levels after it are judged by the users that there were."
    return Finding("workers", "fail", False, why, advice)


def _locust(evidence: Evidence) -> Finding:
    """Locust's requests are the replies that we did not end ourselves; its failures those that count as failed."""
    outcomes = Counter(texts(evidence.replies, "outcome"))
    ours = outcomes.total() - outcomes.get(Outcome.ENDED_BY_US, 0)
    failed = sum(n for name, n in outcomes.items() if name in _KNOWN and is_failure(Outcome(name)))
    if evidence.locust is None:
        return Finding(
            "locust_counts", "unproven", False, "Locust's own table of the run is not there to compare with."
        )
    theirs = evidence.locust
    if (theirs.requests, theirs.failures) == (ours, failed):
        why = f"Locust counted the same: {things(ours, 'reply', 'replies')}, {failed:,} of them failed."
        return Finding("locust_counts", "pass", False, why)
    why = f"Locust counted {theirs.requests:,} replies ({theirs.failures:,} failed), we {ours:,} ({failed:,} failed)."
    advice = "Ours are counted by row and are the ones used; Locust's table may lack what its workers sent last."
    return Finding("locust_counts", "fail", False, why, advice)


_KNOWN = frozenset(outcome.value for outcome in Outcome)


def _files(evidence: Evidence) -> Finding:
    """What could not be read. Bad lines among the replies are lost rows; a last line cut off by a kill is not."""
    if not evidence.damage:
        return Finding("files", "pass", False, "Every file of the run was read to its end.")
    lost = [line for line in evidence.damage if line.startswith("requests") and "cut off" not in line]
    why = f"Not everything could be read: {listed(list(evidence.damage), 3)}."
    advice = "Copy the run's directory again from where it was written." if lost else ""
    return Finding("files", "fail", bool(lost), why, advice)


def _our_faults(evidence: Evidence) -> Finding:
    """Replies that failed by our own fault: no file descriptors left, a defect. They are in no share."""
    outcomes = Counter(texts(evidence.replies, "outcome"))
    faults = outcomes.get(Outcome.CLIENT_ERROR, 0)
    if not faults:
        return Finding("client_faults", "pass", True, "No reply failed by the load generator's own fault.")
    few = faults <= TOLERATED_FAULTS * outcomes.total()
    why = f"{things(faults, 'reply', 'replies')} failed by the load generator's own fault; they are in no share."
    advice = "See `message` in requests.csv; most often the open-file limit is too low (ulimit -n)."
    return Finding("client_faults", "fail", not few, why, advice)


def _ended(evidence: Evidence, levels: Sequence[LevelResult]) -> Finding:
    """A run without an end was killed, or is still going on."""
    reason = evidence.manifest.get("end_reason")
    left = "; what was planned for later was not measured" if something_left(evidence, levels) else ""
    if isinstance(reason, str) and reason in {"interrupted", "terminated"}:
        why = f"The run was {reason} before its end{left}."
        return Finding(
            "ended", "unproven", False, why, "Judged is what was measured until then; let a run end by itself."
        )
    if reason == "workers_lost":
        why = f"The last worker was lost, and the run ended there{left}."
        return Finding("ended", "fail", False, why, "Look into the workers' logs (memory, network).")
    if reason == "workers_left":
        why = f"The last worker left, and the run ended there{left}."
        return Finding(
            "ended", "unproven", False, why, "End a run on its master; a worker that is ended only leaves it."
        )
    if reason:
        return Finding("ended", "pass", False, f"The run came to its end ({str(reason).replace('_', ' ')}).")
    why = "The run was killed, or is still going on: its last seconds are missing."
    return Finding("ended", "fail", False, why, "Judged is what was written; let a run end by itself.")
