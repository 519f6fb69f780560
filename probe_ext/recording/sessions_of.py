"""The requests of a recording by session, and the pauses between them."""

from collections import defaultdict
from collections.abc import Iterable

from probe_ext.recording.recorded_request import RecordedRequest


def sessions_of(requests: Iterable[RecordedRequest]) -> list[list[RecordedRequest]]:
    """Return the requests of each session by turn; sessions by the arrival of their first request."""
    sessions: dict[str, list[RecordedRequest]] = defaultdict(list)
    for request in requests:
        if request.session is not None:
            sessions[request.session].append(request)
    ordered = [sorted(session, key=lambda request: (request.turn or 0, request.at)) for session in sessions.values()]
    return sorted(ordered, key=lambda session: session[0].at)


def pauses(session: Iterable[RecordedRequest]) -> list[tuple[float, RecordedRequest]]:
    """Return the seconds between the end of each reply and the session's next request, with that request.

    A request that came before the reply had ended, as a sub-agent's may, has none.
    """
    found, before = [], None
    for request in session:
        if before is not None and request.at >= before.end:
            found.append((request.at - before.end, request))
        before = request
    return found
