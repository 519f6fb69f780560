"""Does the server stop generating when a client hangs up, or does it go on for nobody?"""

import math
from dataclasses import dataclass
from statistics import median

import gevent

from probe_ext.access.sender import Answered
from probe_ext.inspection.check_result import CheckResult, Figures, Status
from probe_ext.inspection.subject import Subject
from probe_ext.measure import clock
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things, was_or_were

_TARGET_S = 6.0
"""how long the reply would go on after its client has hung up"""
_MIN_REST_S = 1.5
_MAX_WATCH_S = 12.0
_MAX_TOKENS = 4096
_POLL_S = 0.1
_SHOWN_S = 0.6
"""for which the request runs, so that its metrics can show it"""
_SOON, _TO_THE_END = 0.5, 0.8
"""of the time that the reply would have taken"""
_PROMPT_TOKENS = 60
_QUEUED_S, _QUEUED_FACTOR = 0.3, 3.0
"""a wait that shows that requests are answered one after another"""
_WHERE = (
    "Let whatever is in front of the server pass the disconnection on (nginx: `proxy_ignore_client_abort off`), and "
    "have the server abort on it."
)


@dataclass(frozen=True, slots=True)
class Watched:
    """What the metrics showed after the client had hung up."""

    rest: float
    """seconds that the reply would still have taken"""
    gone_after: float | None
    """seconds until no request was running any more; None: not while it was watched"""
    generated: float | None
    """tokens generated in the meantime, over all requests"""
    seen: bool = True
    """whether the metrics showed the request while it ran"""
    read_s: float = 0.0
    """seconds that a reading of the metrics took, at most"""


def cancel(subject: Subject) -> CheckResult:
    """Hang up on a long reply after its first token, and watch whether the server notices."""
    paces = [sample.pace.tpot for sample in subject.answers if sample.pace and sample.pace.tpot]
    if not paces:
        return CheckResult("cancel", Status.UNKNOWN, "How long a reply takes is not known: no stream with token times.")
    tokens = _reply_tokens(subject, median(paces))
    rest = tokens * median(paces)
    if rest < _MIN_REST_S:
        short = f"The longest reply takes only {formats.seconds(rest)}: too short to see whether it is cancelled."
        return CheckResult("cancel", Status.UNKNOWN, short)
    if subject.quantity("running") is None:
        return _by_queue(subject, tokens)
    if _settled_load(subject):
        return CheckResult(
            "cancel", Status.UNKNOWN, "Others are using the server, so it is unclear whose request stops."
        )
    return judged(_watch(subject, tokens, median(paces)))


def _reply_tokens(subject: Subject, tpot: float) -> int:
    limit = subject.server.max_model_len
    fitting = _MAX_TOKENS if limit is None else max(1, limit - 3 * _PROMPT_TOKENS)
    return min(_MAX_TOKENS, fitting, math.ceil((_SHOWN_S + _TARGET_S) / tpot))


def _settled_load(subject: Subject) -> float:
    """Return the requests that run without us; our own last one may still be counted for a moment."""
    for _ in range(10):
        running = subject.quantity("running") or 0.0
        if not running:
            return 0.0
        gevent.sleep(_POLL_S)
    return running


def _watch(subject: Subject, tokens: int, tpot: float) -> Watched | None:
    """Hang up on a reply of so many tokens, and watch the metrics before and after."""
    events = max(1, min(tokens // 3, math.ceil(_SHOWN_S / tpot)))
    rest = (tokens - events) * tpot
    question = subject.question(_PROMPT_TOKENS, tokens, hang_up_after=events)
    asked = gevent.spawn(subject.sender.ask, question, fresh=True)
    seen, read_s = False, 0.0
    while not asked.ready():
        began = clock.monotonic()
        seen = bool(subject.quantity("running")) or seen
        read_s = max(read_s, clock.monotonic() - began)
        gevent.sleep(_POLL_S)
    reply: Answered = asked.get()
    if not reply.at:
        return None
    hung_up, before = reply.end, subject.quantity("generation_tokens")
    gone_after = None
    while (waited := clock.monotonic() - hung_up) < min(_MAX_WATCH_S, rest, subject.seconds_left):
        if not subject.quantity("running"):
            gone_after = waited
            break
        gevent.sleep(_POLL_S)
    after = subject.quantity("generation_tokens")
    generated = None if before is None or after is None else max(0.0, after - before)
    return Watched(rest, gone_after, generated, seen, read_s)


def judged(watched: Watched | None) -> CheckResult:
    """Tell from the metrics whether the reply was cancelled."""
    if watched is None:
        return CheckResult("cancel", Status.UNKNOWN, "No reply to hang up on.")
    figures: Figures = {
        "seconds_until_idle": watched.gone_after,
        "seconds_left_of_reply": watched.rest,
        "tokens_after_hanging_up": watched.generated,
    }
    rest, gone = formats.seconds(watched.rest), watched.gone_after
    if watched.read_s >= _SOON * watched.rest:
        slow = f"The metrics page takes {formats.seconds(watched.read_s)}: too slow to see when the request ended."
        return CheckResult("cancel", Status.UNKNOWN, slow, None, figures)
    if not watched.seen:
        unseen = "The metrics page did not show the request while it ran: it is an old copy, or another server's."
        return CheckResult("cancel", Status.UNKNOWN, unseen, None, figures)
    if gone is not None and gone < _SOON * watched.rest:
        evidence = f"Within {formats.seconds(max(gone, _POLL_S))} of hanging up, no request was running any more; the "
        evidence += f"reply would have gone on for {rest}."
        return CheckResult("cancel", Status.OK, evidence, None, figures)
    if gone is not None and gone < _TO_THE_END * watched.rest:
        evidence = (
            f"The request was gone {formats.seconds(gone)} after hanging up; it would have taken {rest}: cancelled "
        )
        evidence += "late, or a short reply."
        return CheckResult("cancel", Status.UNKNOWN, evidence, None, figures)
    generated = round(watched.generated or 0)
    more = f", and {things(generated, 'more token')} {was_or_were(generated)} generated" if generated else ""
    evidence = (
        f"The server went on after the client had hung up: the request was still running{more}. People who leave "
    )
    evidence += "keep their place in the batch."
    return CheckResult("cancel", Status.PROBLEM, evidence, _WHERE, figures)


def _by_queue(subject: Subject, tokens: int) -> CheckResult:
    """Without metrics: where requests are answered one after another, the next one shows when the slot is free."""
    alone = _short_wait(subject)
    during = _wait_beside(subject, tokens)
    unseen = "Without metrics, it is unknown whether the server stops"
    if alone is None or during is None:
        return CheckResult("cancel", Status.UNKNOWN, f"{unseen}.")
    if not _queued(during, alone):
        return CheckResult("cancel", Status.UNKNOWN, f"{unseen}: it answers several requests at once.")
    subject.sender.ask(subject.question(_PROMPT_TOKENS, tokens, hang_up_after=1), fresh=True)
    after = _short_wait(subject)
    figures: Figures = {"ttft_alone": alone, "ttft_behind_a_reply": during, "ttft_after_hanging_up": after}
    if after is None:
        return CheckResult("cancel", Status.UNKNOWN, f"{unseen}: the request after it got no answer.", None, figures)
    if not _queued(after, alone):
        evidence = f"After hanging up, the next request's first token came in {formats.seconds(after)}; behind a reply "
        evidence += f"that goes on it takes {formats.seconds(during)}."
        return CheckResult("cancel", Status.OK, evidence, None, figures)
    evidence = f"After hanging up, the next request waited {formats.seconds(after)} for its first token, against "
    evidence += f"{formats.seconds(alone)} alone: the server kept generating for nobody."
    return CheckResult("cancel", Status.PROBLEM, evidence, _WHERE, figures)


def _queued(wait: float, alone: float) -> bool:
    return wait > _QUEUED_FACTOR * alone and wait - alone > _QUEUED_S


def _short_wait(subject: Subject) -> float | None:
    return subject.sender.ask(subject.question(_PROMPT_TOKENS, 1), fresh=True).ttft


def _wait_beside(subject: Subject, tokens: int) -> float | None:
    """Return the wait for a first token while another reply is being generated."""
    long_one = gevent.spawn(subject.sender.ask, subject.question(_PROMPT_TOKENS, tokens), fresh=True)
    gevent.sleep(0.2)
    try:
        return _short_wait(subject)
    finally:
        gevent.joinall([long_one], timeout=_MAX_WATCH_S)
        gevent.kill(long_one)
