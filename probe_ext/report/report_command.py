"""`probe report RUN`: (re)build the report from the files of a run.

Replaces an earlier report; the recorded data are only read.

examples:
  probe report reports/runs/20260131T120000Z-capacity
  probe report reports/runs/20260131T120000Z-capacity --slo batch    with another profile: see probe list
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe_ext.compare.gate_tests import GateTest
from probe_ext.exit_codes import ExitCode
from probe_ext.load.level_plan import parse_rate
from probe_ext.measure.rate import Rate
from probe_ext.report.inputs.judged_run import REPORT_OPTIONS, judged_run
from probe_ext.report.outputs import render, servers_overview, summary_and_junit, terminal
from probe_ext.report.outputs.asked_gates import (
    NOTHING_ASKED,
    AskedGates,
    append_to_step_summary,
    gate_tests,
    outcome_of,
)
from probe_ext.report.outputs.capacity_schema import validate
from probe_ext.report.outputs.gate import Gate, gate
from probe_ext.report.outputs.servers_overview import ServerRow
from probe_ext.report.sections import page, pauses
from probe_ext.report.sections.page import Next
from probe_ext.run import directory, manifest
from probe_ext.run.manifest import ManifestError
from probe_ext.run.split import split
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import OPTIONS, Option
from probe_ext.settings.slo import REASONINGS, Reasoning
from probe_ext.verdict.evidence.manifest_view import mapping, number
from probe_ext.verdict.judge import NOTHING_GIVEN
from probe_ext.verdict.results.team_size import Given
from probe_ext.verdict.values.judgement import Judgement

_GATE_OPTIONS = ("fail_over", "baseline", "margin")
"""The same in the order of `AskedGates`."""


@dataclass(frozen=True)
class Built:
    """A judged run whose report has been written."""

    judgement: Judgement
    gate: Gate | None
    tests: tuple[GateTest, ...]
    """of the other gates"""
    page: Path
    given: Given
    """think time and price, by command line or run"""
    next: Next | None = None
    """what to run next"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `probe report`."""
    parser.add_argument("run", metavar="RUN", type=Path, help="run directory")
    parser.add_argument("--slo", metavar="NAME|FILE", help="SLO profile (default: the run's own, else chat)")
    gates = parser.add_mutually_exclusive_group()
    gates.add_argument(
        "--fail-under-users", metavar="N", type=_users, help="exit with code 1 unless N users are proven served"
    )
    gates.add_argument(
        "--fail-under-rate",
        metavar="RATE",
        type=_rate,
        help="exit with code 1 unless this many requests/s are proven served",
    )
    for name in _GATE_OPTIONS:
        _add_option(parser, name)
    parser.add_argument("--reasoning", choices=REASONINGS, help="count the model's reasoning as text, or not")
    for name in REPORT_OPTIONS:
        _add_option(parser, name)
    parser.add_argument("--prometheus", metavar="URL", help="query server metrics from this Prometheus")
    parser.add_argument(
        "--prometheus-match",
        metavar="MATCHERS",
        help='label matchers, e.g. job="vllm",instance=~"gpu.*" (default: all series)',
    )
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def _add_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Add an option that a run has, too."""
    option = next(option for option in OPTIONS if option.name == name)
    parser.add_argument(option.flag, metavar=option.metavar, type=_read_by(option), help=option.help)


def main(args: argparse.Namespace) -> int:
    """Build the report and print the verdict. Returns the exit code; of several servers, the worst."""
    try:
        servers = split(args.run)
        code = _report_servers(args, servers) if servers else _report_one(args)
    except (ManifestError, SettingsError) as error:
        return _usage_error(str(error))
    except OSError as error:
        return _usage_error(f"{error.filename or args.run}: {error.strerror or error}")
    if why := append_to_step_summary(args.run / directory.SUMMARY):
        print(f"probe report: {why}", file=sys.stderr)  # noqa: T201 (output of a command)
    return code


def _report_one(args: argparse.Namespace) -> int:
    why = server_figures(args.run, args.prometheus, args.prometheus_match)
    if why and args.prometheus:
        return _usage_error(why)
    if why:  # requested by the run and not by this command, and the verdict does not need it
        print(f"probe report: {why}", file=sys.stderr)  # noqa: T201 (output of a command)
    built = _build(args, args.run)
    if not args.quiet:
        capacity = built.judgement.to_view()
        terminal.show(capacity, built.gate, built.page, sys.stdout, built.given, built.tests, built.next)
    return exit_code(built)


def _report_servers(args: argparse.Namespace, servers: Mapping[str, Path]) -> int:
    """Report each server of a run by itself, and write an overview."""
    if args.prometheus:
        folder = args.run / directory.SERVERS
        raise SettingsError(f"--prometheus: {args.run} is a run over several servers; report one of {folder}")
    found, rows = [], []
    for name, part in servers.items():
        built = _build(args, part)
        host = str(mapping(manifest.read(part).get("target")).get("host"))
        gates = [one.sentence for one in (built.gate, *built.tests) if one is not None]
        rows.append(ServerRow(name, host, built.judgement.to_view(), gates, built.page.relative_to(args.run)))
        found.append(exit_code(built))
    page = servers_overview.write(args.run, rows)
    if not args.quiet:
        terminal.show_servers([(row.name, row.sentence, row.gates) for row in rows], page, sys.stdout)
    return max(found)


def _build(args: argparse.Namespace, run: Path) -> Built:
    return build(
        run,
        slo=args.slo,
        reasoning=args.reasoning,
        required=args.fail_under_users or args.fail_under_rate,
        given=Given(args.team_think_time, args.price_per_hour, args.window),
        asked=AskedGates(args.fail_over, args.baseline, args.margin),
    )


def _usage_error(why: str) -> int:
    print(f"probe report: {why}", file=sys.stderr)  # noqa: T201 (output of a command)
    return ExitCode.USAGE


def server_figures(run: Path, url: str | None, match: str | None) -> str | None:
    """Read server metrics from a Prometheus if requested. Returns why that failed, in one line, or None.

    Requested by the command line, or by the run itself (`probe run --prometheus`), for which they are read once.
    ManifestError if there is no run, SettingsError for invalid options, OSError if the files cannot be written.
    """
    content = manifest.read(run)
    options = mapping(content.get("options"))
    if url is None and not (run / directory.SERVER_PROMETHEUS).exists():
        url, match = options.get("prometheus"), match or options.get("prometheus_match")
    if url is None:
        if match:
            raise SettingsError(f"--prometheus-match {match}: requires --prometheus URL")
        return None
    from probe_ext.report.inputs import prometheus_import as from_prometheus  # noqa: PLC0415 - a heavy library, needed only here
    from probe_ext.report.inputs.prometheus_client import PrometheusError  # noqa: PLC0415 - as above

    try:
        from_prometheus.read(run, content, from_prometheus.source_of(url, match))
    except PrometheusError as error:
        return str(error)
    return None


def exit_code(built: Built) -> int:
    """Return the exit code."""
    if built.judgement.verdict == "invalid":
        return ExitCode.INVALID
    return ExitCode.OK if outcome_of(built.gate, built.tests) in {None, "passed"} else ExitCode.GATE


def build(
    run: Path,
    *,
    slo: str | None = None,
    reasoning: Reasoning | None = None,
    required: int | None = None,
    given: Given = NOTHING_GIVEN,
    asked: AskedGates = NOTHING_ASKED,
) -> Built:
    """Judge a run and write its report; what is not given comes from the run's own options.

    ManifestError if there is no readable run, SettingsError for an unusable profile, OSError if the directory is not
    writable.
    """
    run_judged = judged_run(run, slo=slo, reasoning=reasoning, required=required, given=given)
    evidence, profile, judgement = run_judged.evidence, run_judged.profile, run_judged.judgement
    required = required or _own_gate(run_judged.options)
    validate(judgement.to_json())
    capacity = judgement.to_view()
    gated = gate(capacity, required)
    judged_by = (profile, run_judged.one_profile)
    tests = gate_tests(asked.completed(run_judged.options), capacity, evidence, judged_by, required)
    files = {path.name for path in run.iterdir() if path.is_file()}
    view = page.page(capacity, evidence, profile, run_judged.given, files, run.resolve().name)
    _write(run, judgement, (gated, tests), view, run_judged.given)
    manifest.replace_text(run / directory.PAUSES, pauses.csv_text(evidence, profile))
    return Built(judgement, gated, tests, run / directory.CAPACITY_HTML, run_judged.given, view.next)


def _own_gate(options: Mapping[str, Any]) -> int | None:
    """Return the gate of the run's own options: users, or a rate."""
    users, rate = options.get("fail_under_users"), number(options, "fail_under_rate")
    return users if isinstance(users, int) else Rate.of(rate) if rate else None


def _read_by(option: Option) -> Callable[[str], Any]:
    """Return argparse's type for an option of the package."""

    def read(text: str) -> Any:
        try:
            return option.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text}: {error}") from error

    return read


def _write(
    run: Path, judgement: Judgement, gates: tuple[Gate | None, tuple[GateTest, ...]], view: page.Page, given: Given
) -> None:
    gated, tests = gates
    capacity = judgement.to_view()
    text = json.dumps(judgement.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    manifest.replace_text(run / directory.CAPACITY_JSON, text)
    manifest.replace_text(run / directory.SUMMARY, summary_and_junit.summary(view, capacity, gated, given, tests))
    manifest.replace_text(run / directory.JUNIT, summary_and_junit.junit(capacity, gated, tests))
    manifest.replace_text(run / directory.CAPACITY_HTML, render.html(view))


def _users(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a positive integer")
    return int(text)


def _rate(text: str) -> Rate:
    try:
        return parse_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
