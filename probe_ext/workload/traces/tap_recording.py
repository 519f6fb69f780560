"""The form of a trace that `probe tap` records: a folder with `tap.json` and `requests.jsonl`.

Its blocks are counted in characters; their length in tokens follows from all prompts that the server counted. Left out
are requests that are not for text, that contain media, or of which no reply is known. A request that came before the
last one of its session was answered, as those of sub-agents do, is a session of its own.
"""

from collections import Counter
from pathlib import Path

from probe_ext.recording.recorded_request import RecordedRequest
from probe_ext.recording.recording_files import HEAD_FILE, REQUESTS_FILE, Recording, RecordingError, read_recording
from probe_ext.workload.traces.raw_request import RawRequest, block_number
from probe_ext.workload.traces.trace_lines import TraceError

NOT_FOR_TEXT, WITH_MEDIA, UNCOUNTED = "not for text", "with images, audio or files", "without counts of tokens"
WITHOUT_REPLY, BROKEN_OFF = "without a reply", "whose line is broken off"
_TOKENS_PER_CHARACTER = 0.25  # where the server counted nothing: no prompt is then replayed


def is_recording(path: Path) -> bool:
    """Whether a path is a folder that `probe tap` has written."""
    return (path / HEAD_FILE).is_file()


def requests_file(path: Path) -> Path:
    """Return the file of a recording that holds its requests."""
    return path / REQUESTS_FILE


def requests(path: Path) -> tuple[list[RawRequest], float, Counter[str]]:
    """Return the requests in order of time, the tokens of each block, and how many were left out, by the reason.

    TraceError, in one line, if the recording cannot be read.
    """
    try:
        recording: Recording = read_recording(path)
        recorded = sorted(recording.requests(), key=lambda one: (one.at, one.number))
    except RecordingError as error:
        raise TraceError(str(error)) from error
    left_out: Counter[str] = Counter({BROKEN_OFF: recording.torn} if recording.torn else {})
    kept = []
    for one in recorded:
        if reason := _why_left_out(one):
            left_out[reason] += 1
        else:
            kept.append(one)
    return _with_sessions(kept), recording.head.block_characters * _tokens_per_character(kept), left_out


def _why_left_out(one: RecordedRequest) -> str:
    if one.endpoint == "other":
        return NOT_FOR_TEXT
    if one.media:
        return WITH_MEDIA
    if not one.input_tokens:
        return UNCOUNTED
    return "" if one.output_tokens or one.events else WITHOUT_REPLY


def _tokens_per_character(counted: list[RecordedRequest]) -> float:
    both = [(one.input_tokens or 0, one.characters) for one in counted if one.characters]
    characters = sum(length for _, length in both)
    return sum(tokens for tokens, _ in both) / characters if characters else _TOKENS_PER_CHARACTER


def _with_sessions(recorded: list[RecordedRequest]) -> list[RawRequest]:
    ends: dict[str, float] = {}
    found = []
    for one in recorded:
        session = one.session
        if session is not None and one.at < ends.get(session, 0.0):
            session = None
        if session is not None:
            ends[session] = one.end
        found.append(
            RawRequest(
                line=one.number,
                at=one.at,
                session=session,
                tokens_in=one.input_tokens or 0,
                tokens_out=one.output_tokens or one.events or 0,
                blocks=tuple(map(block_number, one.prefix_blocks)),
            )
        )
    return found
