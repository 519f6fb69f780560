"""Run all checks of one server and this machine, in an order in which each may use what the earlier ones saw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import gevent

from probe_ext.access.agreed_form import agree
from probe_ext.access.endpoint import Endpoint
from probe_ext.access.known_server import KnownServer, fetcher_for, know_server, target_and_key
from probe_ext.access.sender import Answered, Sender
from probe_ext.client.api.negotiation import Negotiated
from probe_ext.client.api.request_form import RequestForm
from probe_ext.client.exchange import Limits
from probe_ext.exit_codes import ExitCode
from probe_ext.inspection.check_result import TITLES, CheckResult, Status
from probe_ext.inspection.connection.keep_alive import IdleWatch, keep_alive, watch_idle
from probe_ext.inspection.connection.reachable import reachable, resolve
from probe_ext.inspection.connection.replicas import replicas
from probe_ext.inspection.connection.round_trip import round_trip
from probe_ext.inspection.connection.server_clock import server_clock
from probe_ext.inspection.machine.server_process import server_process
from probe_ext.inspection.obedience import obeys_length
from probe_ext.inspection.planned_run import PlannedRun
from probe_ext.inspection.quick_checks import machine_findings
from probe_ext.inspection.replies.answer_length import answer_length
from probe_ext.inspection.replies.forms import reasoning, tool_calls
from probe_ext.inspection.replies.refused_fields import request_form
from probe_ext.inspection.replies.streaming import streaming
from probe_ext.inspection.replies.usage import usage
from probe_ext.inspection.server.cancel import cancel
from probe_ext.inspection.server.engine_and_model import identity
from probe_ext.inspection.server.metrics_page import metrics
from probe_ext.inspection.server.prefix_cache import prefix_cache
from probe_ext.inspection.subject import CooperativeFetcher, Subject
from probe_ext.measure import clock
from probe_ext.settings.options import Options

LIMIT_S = 120.0
"""of all checks together"""
_CHECK_LIMIT_S = 40.0
_CONNECT_S = 5.0
_FIRST_TOKEN_S = 60.0
_LIMITS = Limits(connect=_CONNECT_S, first=_FIRST_TOKEN_S, gap=_CHECK_LIMIT_S, total=_FIRST_TOKEN_S)
_SAMPLES = 3
_SHORT_PROMPT_TOKENS = 40
_IDLE_WATCH_S = 12.0

Tell = Callable[[str | None], None]
Check = Callable[[], CheckResult]


@dataclass(frozen=True, slots=True)
class Examination:
    """The result of all checks."""

    server: KnownServer
    plan: PlannedRun
    findings: tuple[CheckResult, ...]
    """in the order of TITLES"""
    started: float
    """unix seconds"""
    seconds: float
    usable: bool
    """whether the server answered a request"""


def examine(url: str, options: Options, plan: PlannedRun, tell: Tell = lambda _: None) -> Examination:
    """Check the server at a URL. SettingsError if the URL or the API key is invalid."""
    started, began = clock.wall(), clock.monotonic()
    tell("asking the server what it is")
    subject = subject_of(url, options, plan)
    server = subject.server
    endpoint = Endpoint(server.url, options, server.model or "")
    findings = [*machine_findings(plan, options), _process(server, plan)]
    tell(TITLES["reachable"])
    findings += [reachable(endpoint, server, _CONNECT_S), *identity(server, options)]
    usable = not any(f.status is Status.PROBLEM and f.id in ("reachable", "models") for f in findings)
    if usable:
        tell("first replies")
        subject.read_first()
        findings.append(request_form(take_samples(subject)))
        findings += _with_replies(subject, endpoint, tell)
        usable = bool(subject.answers)
    subject.sender.close()
    tell(None)
    order = list(TITLES)
    findings.sort(key=lambda finding: order.index(finding.id))
    return Examination(server, plan, tuple(findings), started, clock.monotonic() - began, usable)


def subject_of(url: str, options: Options, plan: PlannedRun) -> Subject:
    """Identify the server at a URL, and return it to be looked at. SettingsError if URL or API key is invalid."""
    target, key = target_and_key(url)
    fetcher = CooperativeFetcher(fetcher_for(target, key, options))
    server = know_server(target, fetcher, options)
    return Subject(
        server=server,
        options=options,
        plan=plan,
        sender=Sender(Endpoint(target.url, options, server.model or ""), options.api, limits=_LIMITS),
        fetcher=fetcher,
        new_fetcher=lambda: fetcher_for(target, key, options),
        seed=int(clock.wall() * 1000),
        deadline=clock.monotonic() + LIMIT_S,
    )


def _process(server: KnownServer, plan: PlannedRun) -> CheckResult:
    try:
        addresses = [address for _, address in resolve(server.target, _CONNECT_S)]
    except OSError:
        addresses = []
    return server_process(addresses, server.target.port, plan.users)


def take_samples(subject: Subject) -> Negotiated:
    """Find the request form that the server accepts, then ask for a few streamed replies, one after another.

    Stops at one that fails, as the next would wait as long.
    """
    replies: list[Answered] = []

    def send(form: RequestForm) -> Answered:
        subject.sender.close()
        endpoint = Endpoint(subject.server.url, subject.options, subject.server.model or "", form)
        subject.sender = Sender(endpoint, subject.options.api, limits=_LIMITS)
        replies.append(subject.sender.ask(subject.sample_question()))
        return replies[-1]

    negotiated = agree(RequestForm(subject.options.usage), send, subject.options)
    subject.samples.append(replies[-1])
    while len(subject.samples) < _SAMPLES and subject.samples[-1].ok and subject.seconds_left:
        subject.samples.append(subject.sender.ask(subject.sample_question()))
    return negotiated


def _with_replies(subject: Subject, endpoint: Endpoint, tell: Tell) -> list[CheckResult]:
    """Run the checks that send requests, or read what the samples were like."""
    watch = watch_idle(subject.sender, _IDLE_WATCH_S)
    run = partial(_bounded, subject=subject, tell=tell)
    try:
        counts = run("usage", partial(usage, subject))
        true_counts = counts.status is not Status.PROBLEM
        findings = [
            counts,
            run("streaming", partial(streaming, subject.samples, true_counts=true_counts)),
            run("clock", partial(server_clock, subject.samples)),
            run("round_trip", partial(round_trip, endpoint, _CONNECT_S)),
            run("replicas", partial(replicas, subject)),
        ]
        if subject.answers:
            findings += [
                run("answer_length", partial(answer_length, subject, partial(_obeys, subject))),
                run("reasoning", partial(reasoning, subject)),
                run("cancel", partial(cancel, subject)),
                run("tool_calls", partial(tool_calls, subject)),
                run("prefix_cache", partial(prefix_cache, subject)),
                run("keep_alive", partial(_kept, subject, watch)),
            ]
        if any(finding.id == "replicas" and finding.needs_fix for finding in findings):
            subject.first_reading = None  # of another server, perhaps
        # Last: servers may count a reply a while after its end.
        return [*findings, run("metrics", partial(metrics, subject))]
    finally:
        if watch is not None:
            watch.stop()


def _obeys(subject: Subject) -> bool | None:
    return obeys_length(subject.server.kind, lambda: subject.prompt(_SHORT_PROMPT_TOKENS), subject.sender.ask)


def _kept(subject: Subject, watch: IdleWatch | None) -> CheckResult:
    if watch is not None:
        watch.wait()
    return keep_alive(subject.samples, watch)


def _bounded(check: str, look: Check, subject: Subject, tell: Tell) -> CheckResult:
    """Run one check within its time."""
    limit = min(_CHECK_LIMIT_S, subject.seconds_left)
    if limit <= 0:
        return CheckResult(check, Status.UNKNOWN, f"No time left of the {LIMIT_S:g} s.")
    tell(TITLES[check])
    timeout = gevent.Timeout(limit)
    timeout.start()
    try:
        return look()
    except gevent.Timeout as fired:
        if fired is not timeout:
            raise
        return CheckResult(check, Status.UNKNOWN, f"Not finished within {limit:.0f} s.")
    finally:
        timeout.close()


def exit_code_of(examination: Examination) -> ExitCode:
    """Return 0 if nothing needs fixing, 1 if something does, 3 if the server cannot be used."""
    if not examination.usable:
        return ExitCode.INVALID
    return ExitCode.GATE if any(finding.needs_fix for finding in examination.findings) else ExitCode.OK


def to_fix(findings: Sequence[CheckResult]) -> list[CheckResult]:
    """Return what should be changed, problems first."""
    fixes = [finding for finding in findings if finding.needs_fix]
    return sorted(fixes, key=lambda finding: finding.status is not Status.PROBLEM)
