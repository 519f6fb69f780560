"""The kinds of a workload with the distributions of a recording."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, pstdev

from probe_ext.recording.recorded_request import BLOCK_CHARACTERS, RecordedRequest
from probe_ext.recording.sessions_of import pauses
from probe_ext.tap.derived.distribution_fits import Fit, fit
from probe_ext.tap.derived.text_lengths import TextLengths, question_characters, text_lengths
from probe_ext.tap.derived.user_groups import Groups, UserGroup, user_groups
from probe_ext.workload.section import MAX_TURNS

_SHARED = 0.9
"""of a kind's sessions must begin with the same text for it to be a shared prefix"""
_MIN_SESSIONS_SHARING = 3
_SHORTEST_PAUSE_S = 0.001


@dataclass(frozen=True, slots=True)
class DerivedKind:
    """One kind of user."""

    group: UserGroup
    share: float
    """of the users"""
    lengths: TextLengths
    system_tokens: int
    shared_prefix_tokens: int
    questions: Fit
    output: Fit | None
    """None if the server did not count"""
    turns: Fit
    think: Fit | None
    """None if no session has a second request"""
    stream: float
    """share of requests"""
    repeated: float
    """share of prompts that had been sent before, word by word"""


@dataclass(frozen=True, slots=True)
class DerivedWorkload:
    """All kinds, and how requests arrived."""

    kinds: Sequence[DerivedKind]
    left_out: Groups
    rate: float
    """requests per second over the recording"""
    burstiness: float | None
    """standard deviation of the gaps between the beginnings of sessions ÷ their mean; None of few"""


def derive(requests: Sequence[RecordedRequest]) -> DerivedWorkload | None:
    """Return the workload of a recording; None if nothing in it was answered."""
    groups = user_groups(requests)
    derived = [_kind(group) for group in groups.groups]
    kinds = [each for each in derived if each is not None]
    if not kinds:
        return None
    total = sum(weight for _, weight in kinds)
    shared = [_with_share(kind, weight / total) for kind, weight in kinds]
    members = [request for group in groups.groups for request in group.requests]
    begins = sorted(session[0].at for group in groups.groups for session in group.sessions)
    until = max(request.end for request in members) - begins[0]
    return DerivedWorkload(shared, groups, len(members) / until if until else 0.0, _burstiness(begins))


def _kind(group: UserGroup) -> tuple[DerivedKind, float] | None:
    """Return a kind, and the weight of its users: of how many cycles of asking and pausing, how long each."""
    lengths = text_lengths(group.requests)
    prefix = _shared_prefix(group)
    system = _system_characters(group)
    questions = [max(1.0, round(lengths.tokens(each))) for each in _questions(group, prefix, system)]
    if not questions:
        return None
    output = [float(max(1, each.output_tokens)) for each in group.requests if each.output_tokens is not None]
    paused = [max(_SHORTEST_PAUSE_S, round(pause, 3)) for session in group.sessions for pause, _ in pauses(session)]
    kind = DerivedKind(
        group=group,
        share=0.0,
        lengths=lengths,
        system_tokens=round(lengths.tokens(system)),
        shared_prefix_tokens=round(lengths.tokens(prefix)),
        questions=fit(questions, counts=True),
        output=fit(output, counts=True) if output else None,
        turns=fit([float(min(MAX_TURNS, len(session))) for session in group.sessions], counts=True),
        think=fit(paused, counts=False) if paused else None,
        stream=fmean(each.stream for each in group.requests),
        repeated=_repeated(group.requests),
    )
    cycle = fmean(each.duration for each in group.requests) + (fmean(paused) if paused else 0.0)
    return kind, len(group.requests) * max(cycle, _SHORTEST_PAUSE_S)


def _with_share(kind: DerivedKind, share: float) -> DerivedKind:
    values = {name: getattr(kind, name) for name in DerivedKind.__dataclass_fields__}
    return DerivedKind(**{**values, "share": share})


def _system_characters(group: UserGroup) -> int:
    """Return the length of the system prompt that all of a group share."""
    if group.system is None:
        return 0
    return group.sessions[0][0].system_characters or 0


def _shared_prefix(group: UserGroup) -> int:
    """Return the characters behind the system prompt with which nearly all sessions begin."""
    first = [session[0] for session in group.sessions]
    if len(first) < _MIN_SESSIONS_SHARING:
        return 0
    blocks = [each.prefix_blocks for each in first]
    longest = max(blocks, key=len)
    shared = 0
    for n in range(1, len(longest) + 1):
        (_, most), *_ = Counter(each[n - 1] for each in blocks if len(each) >= n).most_common(1)
        if most < _SHARED * len(blocks):
            break
        shared = n
    same = all(each.prompt == first[0].prompt for each in first)
    return 0 if same else max(0, shared * BLOCK_CHARACTERS - _system_characters(group))


def _questions(group: UserGroup, prefix: int, system: int) -> list[float]:
    """Return the characters of each message that a user wrote."""
    found = []
    for session in group.sessions:
        first = question_characters(session[0], None)
        if first is not None and session[0].turn == 0:
            own = first if system else first + (session[0].system_characters or 0)
            found.append(max(0.0, own - prefix))
        found += [
            added
            for before, request in pairwise(session)
            if request.turn == (before.turn or 0) + 1 and (added := question_characters(request, before)) is not None
        ]
    return found


def _repeated(requests: Sequence[RecordedRequest]) -> float:
    named = [each.prompt for each in requests if each.prompt is not None]
    return 1 - len(set(named)) / len(named) if named else 0.0


def _burstiness(begins: Sequence[float]) -> float | None:
    gaps = [later - earlier for earlier, later in pairwise(begins)]
    if len(gaps) < 20 or not (mean := fmean(gaps)):
        return None
    return pstdev(gaps) / mean
