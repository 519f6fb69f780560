"""Which requests belong to one kind of user: same API, model and system prompt. Rare ones are put together."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from probe_ext.measure.outcome import Outcome
from probe_ext.recording.recorded_request import RecordedRequest
from probe_ext.recording.sessions_of import sessions_of
from probe_ext.workload.workload_file import MAX_KINDS

_MIN_SHARE = 0.02
_ANSWERED = frozenset({Outcome.COMPLETE.value, Outcome.NO_ANSWER.value, Outcome.TRUNCATED.value, Outcome.EMPTY.value})

Session = list[RecordedRequest]


@dataclass(frozen=True, slots=True)
class UserGroup:
    """Sessions of one kind of user."""

    name: str
    endpoint: str
    models: dict[str, int]
    """requests by model"""
    system: str | None
    """hash of the system prompt that they share; None without one, and where each has its own"""
    sessions: Sequence[Session]

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests."""
        return [request for session in self.sessions for request in session]


@dataclass(frozen=True, slots=True)
class Groups:
    """All groups, the largest first, and what was left out."""

    groups: Sequence[UserGroup]
    failed: int
    """requests that were not answered"""
    too_rare: int
    """requests of kinds beyond what a workload can have"""


_Key = tuple[str, str, str | None]


def user_groups(requests: Iterable[RecordedRequest]) -> Groups:
    """Return the kinds of user of a recording."""
    asked = [request for request in requests if request.endpoint != "other" and request.session is not None]
    answered = [request for request in asked if request.outcome in _ANSWERED]
    sessions = sessions_of(answered)
    shared = {name for name, number in Counter(session[0].system for session in sessions).items() if number > 1}
    by_key: dict[_Key, list[Session]] = defaultdict(list)
    for session in sessions:
        first = session[0]
        by_key[first.endpoint, first.model or "", first.system if first.system in shared else None].append(session)
    merged = _merged(by_key, len(answered))
    ordered = sorted(merged.items(), key=lambda item: -sum(map(len, item[1])))
    numbers: Counter[str] = Counter()
    groups = []
    for (endpoint, _, system), members in ordered[:MAX_KINDS]:
        numbers[endpoint] += 1
        models = Counter(request.model or "" for session in members for request in session)
        groups.append(UserGroup(f"{endpoint}-{numbers[endpoint]}", endpoint, dict(models), system, members))
    rare = sum(len(session) for _, members in ordered[MAX_KINDS:] for session in members)
    return Groups(groups, len(asked) - len(answered), rare)


def _merged(by_key: dict[_Key, list[Session]], total: int) -> dict[_Key, list[Session]]:
    """Put kinds with few requests together, by API; they keep neither model nor system prompt as a trait."""
    merged: dict[_Key, list[Session]] = defaultdict(list)
    rare = {key for key, members in by_key.items() if sum(map(len, members)) < _MIN_SHARE * total}
    for key, members in by_key.items():
        lonely = len([each for each in rare if each[0] == key[0]]) < 2
        merged[key if key not in rare or lonely else (key[0], "", None)] += members
    return merged
