"""Query the server before a run: what it is, which model answers, how long a prompt is in its tokens."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gevent

from probe_ext.access.file_prompts.file_lengths import PreparedFile, PreparedFiles
from probe_ext.access.file_prompts.prompt_files import PromptFiles
from probe_ext.access.file_prompts.request_counts import RequestCounter
from probe_ext.access.known_server import KnownServer, fetcher_for, know_server, target_and_key
from probe_ext.access.prompt_source import calibrated
from probe_ext.access.sender import Answered
from probe_ext.access.start_problem import models_problem, start_problem
from probe_ext.access.workload_lengths import longest_reply, mean_lengths, misfits, sample_options, with_trace_lengths
from probe_ext.bundled import folder
from probe_ext.client.api.negotiation import Negotiated
from probe_ext.measure import clock
from probe_ext.measure.findings import recorded_finding
from probe_ext.measure.fluidity import Deadlines
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.settings.prometheus_access import prometheus_source
from probe_ext.settings.slo import SloProfile, load_profile
from probe_ext.swarm.preparation.stream_plan import open_trace, replays
from probe_ext.swarm.preparation.trace_notes import trace_notes
from probe_ext.swarm.preparation.workload_files import check_lengths_of
from probe_ext.target.before_load import Busy, look
from probe_ext.target.control.fetch import Fetcher
from probe_ext.target.prometheus_check import prometheus_problem
from probe_ext.target.server_identity import OK
from probe_ext.tls_trust import client_context
from probe_ext.verdict.grading.kind_profiles import KindProfiles, kind_profiles
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.workload.arrival_times import TRACE
from probe_ext.workload.traces.trace_facts import TraceFacts, facts_of
from probe_ext.workload.workload_file import Workload

_OF_THE_KIND = frozenset({"kind", "path", "field"})  # of a prompt file: the workload has them


@dataclass(frozen=True)
class Preparation:
    """What the manifest records of the target, and what workers need to know."""

    host: str
    model: str | None
    model_from: str
    server: list[dict[str, Any]]
    metrics_urls: tuple[str, ...]
    prompts: dict[str, Any]
    problem: str | None
    """why no reply can be expected, in one line"""
    profile: dict[str, Any]
    """the SLO profile, in full"""
    deadlines: Deadlines | None = None
    """when the profile wants each token of a reply"""
    busy: str | None = None
    """that the server had requests before this run sent any, in one line"""
    warm_up: dict[str, Any] | None = None
    """cost of the warm-up before the run"""
    negotiation: Negotiated | None = None
    """the request form that the server accepts; None before the server was asked"""
    findings: tuple[dict[str, Any], ...] = field(default=())
    """what the manifest says of all this, as findings"""
    refusal: str | None = None
    """why the server answers no request, in its own words: the run ends before it begins"""
    first_reply: Answered | None = None
    """the warm-up's first reply: how replies arrive"""
    context: int | None = None
    """context length of the model in tokens"""
    workload: "PreparedWorkload | None" = None
    """None: the locustfile says what is asked"""
    by_host: tuple["HostPreparation", ...] = ()
    """the preparation of each server, in a run over several"""


@dataclass(frozen=True)
class HostPreparation:
    """One of the servers of a run over several."""

    kind: str
    """of user that asks it"""
    options: Options
    """with its metrics URLs alone"""
    preparation: Preparation


@dataclass(frozen=True)
class PreparedWorkload:
    """Whose load it is."""

    workload: Workload
    file: str | None
    """the name or file that it was read from; None: the locustfile composes it"""
    sample: Options
    """options for requests like those of its longest kind"""
    longest_reply: int
    """tokens that hardly any reply exceeds"""
    notes: tuple[str, ...] = ()
    """what does not fit into the context, and what is in the prompt files"""
    files: tuple[PreparedFile, ...] = ()
    """prompt files, one for each kind that uses one"""
    findings: tuple[dict[str, Any], ...] = ()
    """what is wrong with them"""
    trace: TraceFacts | None = None
    """what is replayed"""
    described: Workload | None = None
    """the workload with the lengths of its trace"""

    @property
    def with_lengths(self) -> Workload:
        """The workload with the lengths of its trace, if it has one."""
        return self.described or self.workload

    def file_messages(self) -> list[dict[str, Any]]:
        """Return what each worker needs to know of the files that it reads itself."""
        messages = [file.as_message() for file in self.files]
        load = self.workload.trace
        if load is not None and self.trace is not None:
            about = {"kind": TRACE, "path": load.file, "field": None, "sha256": self.trace.sha256, "trace": True}
            messages.append(about)
        return messages

    def with_files(self, prepared: PreparedFiles) -> "PreparedWorkload":
        """Add the prompt files, and the remarks on them."""
        remarks = tuple(remark.text for remark in prepared.remarks if remark.state is None)
        findings = tuple(finding for remark in prepared.remarks if (finding := remark.as_finding()))
        return replace(self, files=prepared.files, notes=(*self.notes, *remarks), findings=findings)


def recorded_workload(preparation: Preparation) -> dict[str, Any] | None:
    """Return whose load it is, as `run.json` records it; None where the locustfile alone says it."""
    prepared = preparation.workload
    if prepared is None:
        return None
    about = prepared.workload.to_manifest(prepared.file, preparation.profile)
    files = {file.kind: file.as_manifest() for file in prepared.files}
    for kind in about["kinds"]:
        if kind["name"] in files:
            kind["prompts"] |= {key: value for key, value in files[kind["name"]].items() if key not in _OF_THE_KIND}
    if prepared.trace is not None:
        about["trace"] |= prepared.trace.as_json()
    return {**about, "longest_reply": prepared.longest_reply}


def profiles_of(preparation: Preparation) -> KindProfiles:
    """Return how replies will be judged, by the report as while the run lasts."""
    return kind_profiles(recorded_workload(preparation), SloProfile.model_validate(preparation.profile))


def prepare(
    host: str | None,
    options: Options,
    given: tuple[Workload, str | None] | None = None,
    files: PromptFiles | None = None,
) -> Preparation:
    """Query the server. SettingsError if an option cannot work with it.

    `given`: a workload, and where it is from; `files`: where its prompt files are opened.
    """
    target, key = target_and_key(host)
    files = files or PromptFiles()
    _check_tls(options)
    profile = _profile(options, given)  # refuse a wrong profile now, not after the run
    fetcher = fetcher_for(target, key, options)
    _check_prometheus(options)
    server = know_server(target, fetcher, options)
    model = server.model
    workload, problem = _of_workload(server, options, given)
    busy = _look_before_load(list(server.entries), options, fetcher, model) if problem is None else None
    seed = options.prompt_seed if options.prompt_seed is not None else int(clock.wall())
    sample = workload.sample if workload else options
    prompts = calibrated(target, model or "", sample, fetcher, seed) if problem is None else {}
    if workload and prompts:
        counters = lambda chosen: RequestCounter(target, model or "", chosen, fetcher)  # noqa: E731
        prepared = check_lengths_of(workload.workload, options, prompts, server.max_model_len, files, counters)
        workload = workload.with_files(prepared)
        counted = {file.kind: file.mean_tokens for file in workload.files if file.mean_tokens is not None}
        prompts["input_tokens"], prompts["shared_prefix_tokens"] = mean_lengths(workload.with_lengths, options, counted)
    return Preparation(
        host=target.url,
        model=model,
        model_from="option" if options.model else "server",
        server=list(server.entries),
        metrics_urls=server.metrics_urls,
        prompts=prompts,
        problem=problem,
        profile=profile.model_dump(mode="json"),
        deadlines=profile.deadlines,
        busy=busy,
        findings=(*_unlisted_models(options, workload, server.models), *(workload.findings if workload else ())),
        context=server.max_model_len,
        workload=workload,
    )


def _profile(options: Options, given: tuple[Workload, str | None] | None) -> SloProfile:
    """Return the run's profile: that of --slo, or without one, the one that all kinds have."""
    profile = load_profile(options.slo, folder("configs") / "slo")
    of_kinds = [kind.slo for kind in given[0].kinds] if given and options.slo == Options().slo else []
    same = of_kinds and of_kinds[0] is not None and all(one == of_kinds[0] for one in of_kinds)
    return of_kinds[0] or profile if same else profile


def _of_workload(
    server: KnownServer, options: Options, given: tuple[Workload, str | None] | None
) -> tuple[PreparedWorkload | None, str | None]:
    """Return the workload, prepared for this server, and why no run can start."""
    if given is None:
        return None, start_problem(server, options)
    workload, file = given
    if workload.trace is not None:
        return _of_trace(server, options, workload, file), models_problem(server, options)
    sample, longest = sample_options(workload, options), longest_reply(workload, options)
    problem, notes = models_problem(server, options), list[str]()
    if problem is None and server.max_model_len:
        problem, notes = misfits(workload, options, server.max_model_len, server.model or "the model")
    return PreparedWorkload(workload, file, sample, longest, tuple(notes)), problem


def _of_trace(server: KnownServer, options: Options, workload: Workload, file: str | None) -> PreparedWorkload:
    """Return a workload that replays a trace. SettingsError if nothing of it fits the model's context."""
    trace = open_trace(workload, server.max_model_len)
    described = with_trace_lengths(workload, trace)
    facts = facts_of(trace, replays(workload, server.max_model_len))
    sample, longest = sample_options(described, options), longest_reply(described, options)
    return PreparedWorkload(workload, file, sample, longest, trace_notes(facts), trace=facts, described=described)


def _check_tls(options: Options) -> None:
    """SettingsError in one line if a file of the TLS options cannot be used."""
    try:
        client_context(options.tls)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _look_before_load(
    server: list[dict[str, Any]], options: Options, fetcher: Fetcher, model: str | None
) -> str | None:
    """Add to each server the requests that it has before this run sends any; return them in words, None without any."""
    running = waiting = 0
    given = () if options.no_metrics else options.metrics_url
    urls: list[str | None] = [*(given or (entry.get("metrics_url") for entry in server))]
    for entry, url in zip(server, urls, strict=True):
        readable = entry["metrics"] == OK and url is not None
        found = look(url, model, fetcher.get, gevent.sleep) if url is not None and readable else Busy()
        entry |= {"running_before": found.running, "waiting_before": found.waiting}
        running, waiting = running + (found.running or 0), waiting + (found.waiting or 0)
    if not running and not waiting:
        return None
    requests = things(running + waiting, "request")
    return f"others are using the server: before this run, it had {requests} ({running:,} running, {waiting:,} waiting)"


def _unlisted_models(
    options: Options, workload: PreparedWorkload | None, models: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Warn of a model that the server does not list: many answer to names that they do not list."""
    kinds = workload.workload.kinds if workload else ()
    named = [
        name for name in (options.model, *(name for kind in kinds if kind.model for name in kind.model.names)) if name
    ]
    missing = next((name for name in named if models is not None and name not in models), None)
    if missing is None or models is None:
        return []
    why = f"The server does not list the model `{missing}`. It lists {', '.join(models[:5]) or 'none'}."
    advice = "Where the wrong model answers, name one of these with --model."
    return [recorded_finding("model_listed", why, advice)]


def _check_prometheus(options: Options) -> None:
    """SettingsError if the Prometheus from which the server's metrics are to be read has none."""
    source = prometheus_source(options.prometheus, options.prometheus_match, os.environ)
    if source is None:
        return
    fetcher = Fetcher(home=source.url, timeout=options.timeout_connect, authorization=source.authorization)
    why = prometheus_problem(source.url, source.match, fetcher)
    if why:
        raise SettingsError(f"--prometheus {source.url}: {why}")
