"""Prepare a run over several servers: each is prepared as if it were the only one, with the kind that asks it."""

import secrets
from collections.abc import Sequence
from dataclasses import replace

from probe_ext.access.file_prompts.prompt_files import PromptFiles
from probe_ext.measure.rate import Rate
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import Options
from probe_ext.swarm.preparation.stream_plan import is_open_stream
from probe_ext.swarm.preparation.target_probe import HostPreparation, Preparation, PreparedWorkload, prepare
from probe_ext.target.control.urls import shown, urls_by_host
from probe_ext.verdict.phrasing.plurals import listed
from probe_ext.workload.workload_file import Workload


def check_hosts(workload: Workload, options: Options, workers: int = 1) -> None:
    """SettingsError if the options of a run over several servers ask for what only a single server has.

    Or if there are more `workers` than connections to a server: each sends its part of every server's requests.
    """
    of = f"the workload {workload.name} names a host for each kind"
    if not options.rate and not is_open_stream(workload):
        raise SettingsError(
            f"--rate: is missing; {of}, and users who wait for replies would send a slow server fewer requests"
        )
    if options.prometheus:
        url = shown(options.prometheus)
        raise SettingsError(f"--prometheus {url}: {of}; give it to probe report for each server, after the run")
    if options.max_in_flight < workers:
        raise SettingsError(
            f"--max-in-flight {options.max_in_flight}: {of}, and each of the {workers} workers needs a connection "
            "to every host"
        )


def prepare_hosts(options: Options, given: tuple[Workload, str | None], files: PromptFiles) -> Preparation:
    """Query all servers of a workload. SettingsError if an option cannot work with one of them."""
    workload, file = given
    seed = secrets.randbelow(2**32) if options.prompt_seed is None else options.prompt_seed  # for all the same
    hosts = [kind.host or "" for kind in workload.kinds]
    metrics, gpus = _by_host("metrics_url", options, hosts), _by_host("gpu_metrics", options, hosts)
    found = []
    for kind, of_metrics, of_gpus in zip(workload.kinds, metrics, gpus, strict=True):
        own = replace(options, prompt_seed=seed, metrics_url=of_metrics, gpu_metrics=of_gpus)
        preparation = prepare(kind.host, own, (workload.of_kind(kind), file), files)
        if preparation.problem:
            raise SettingsError(f"{kind.name}: {preparation.problem.replace('--host ', 'host ', 1)}")
        found.append(HostPreparation(kind.name, replace(own, prompt_seed=options.prompt_seed), preparation))
    return _together(workload, file, found)


def _together(workload: Workload, file: str | None, found: Sequence[HostPreparation]) -> Preparation:
    """Return the preparation of the run; what only a single server has is that of the first."""
    first = found[0].preparation
    parts = [one.preparation.workload for one in found]
    prepared = [part for part in parts if part is not None]
    busy = [f"{one.kind}: {one.preparation.busy}" for one in found if one.preparation.busy]
    left_out: dict[tuple[str, str | None], set[int]] = {}
    for used in (used for part in prepared for used in part.files):
        left_out.setdefault((used.path, used.field), set()).update(used.left_out)
    sample, several = prepared[0].sample, len(found)
    whole = PreparedWorkload(
        workload,
        file,
        replace(
            sample,
            rate=tuple(Rate(several * rate) for rate in sample.rate) if sample.rate else None,
            max_in_flight=several * sample.max_in_flight,
        ),
        max(part.longest_reply for part in prepared),
        tuple(note for part in prepared for note in part.notes),
        tuple(
            replace(used, left_out=tuple(sorted(left_out[used.path, used.field])))
            for part in prepared
            for used in part.files
        ),
    )
    return replace(
        first,
        workload=whole,
        busy="; ".join(busy) or None,
        findings=(),
        metrics_urls=(),
        by_host=tuple(found),
    )


def _by_host(name: str, options: Options, hosts: Sequence[str]) -> list[tuple[str, ...]]:
    """Return which of the URLs of an option belong to each host. SettingsError for one that belongs to none."""
    flag = f"--{name.replace('_', '-')}"
    try:
        found, of_none = urls_by_host(getattr(options, name), hosts)
    except ValueError as error:
        raise SettingsError(f"{flag}: {error}") from error
    if of_none:
        raise SettingsError(f"{flag} {shown(of_none[0])}: is on none of the workload's hosts {listed(list(hosts))}")
    return [tuple(urls) for urls in found]
