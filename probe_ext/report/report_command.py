"""`probe report RUN`: (re)build the verdict, the page and the short texts from a run's files alone.

What an earlier report of the run wrote is replaced; what the run wrote is only read.

examples:
  probe report reports/runs/20260131T120000Z-capacity
  probe report reports/runs/20260131T120000Z-capacity --slo batch    by another profile: see probe list
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema

from probe_ext.bundled import folder
from probe_ext.exit_codes import ExitCode
from probe_ext.report.inputs import frames
from probe_ext.report.outputs import render, summary_and_junit, terminal
from probe_ext.report.outputs.gate import Gate, gate
from probe_ext.report.sections import page, pauses
from probe_ext.run import directory, manifest
from probe_ext.run.manifest import ManifestError
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.options import OPTIONS, Option
from probe_ext.settings.slo import REASONINGS, Reasoning, SloProfile, load_profile
from probe_ext.verdict.judge import NOTHING_GIVEN, judge
from probe_ext.verdict.results.team_size import Given
from probe_ext.verdict.values.judgement import Judgement
from probe_ext.verdict.values.manifest_view import number

DEFAULT_PROFILE = "chat"
_GIVEN = ("team_think_time", "price_per_hour")
"""options of the run that only the report uses, in the order of `Given`"""


@dataclass(frozen=True)
class Built:
    """A judged run, its files written."""

    judgement: Judgement
    gate: Gate | None
    page: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `probe report`."""
    parser.add_argument("run", metavar="RUN", type=Path, help="directory of the run")
    parser.add_argument("--slo", metavar="NAME|FILE", help="judge by this profile; default: the run's own, else chat")
    parser.add_argument(
        "--fail-under-users", metavar="N", type=_users, help="exit code 1 when fewer users than this are proven served"
    )
    parser.add_argument("--reasoning", choices=REASONINGS, help="judge with the model's thinking shown, or hidden")
    for name in _GIVEN:
        option = next(option for option in OPTIONS if option.name == name)
        parser.add_argument(option.flag, metavar=option.metavar, type=_read_by(option), help=option.help)
    parser.add_argument(
        "--prometheus", metavar="URL", help="read the server's figures of the run's window from this Prometheus"
    )
    parser.add_argument(
        "--prometheus-match", metavar="MATCHERS", help='which of its series: job="vllm",instance=~"gpu.*"; default: all'
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")


def main(args: argparse.Namespace) -> int:
    """Build the report and print the verdict; the exit code."""
    try:
        why = server_figures(args.run, args.prometheus, args.prometheus_match)
        if why and args.prometheus:
            return _wrong(why)
        if why:  # the run's own wish, not this command's: how users felt is known without it
            print(f"probe report: {why}", file=sys.stderr)  # noqa: T201 (a command talks)
        built = build(
            args.run,
            slo=args.slo,
            reasoning=args.reasoning,
            fail_under_users=args.fail_under_users,
            given=Given(args.team_think_time, args.price_per_hour),
        )
    except (ManifestError, SettingsError) as error:
        return _wrong(str(error))
    except OSError as error:
        return _wrong(f"{error.filename or args.run}: {error.strerror or error}")
    if not args.quiet:
        terminal.show(built.judgement.to_json(), built.gate, built.page, sys.stdout)
    return exit_code(built)


def _wrong(why: str) -> int:
    print(f"probe report: {why}", file=sys.stderr)  # noqa: T201 (a command talks)
    return ExitCode.USAGE


def server_figures(run: Path, url: str | None, match: str | None) -> str | None:
    """Read the server's figures from a Prometheus where that was asked for; why that failed, in one line.

    Asked for by the command line, or by the run itself (`probe run --prometheus`), whose figures are read once.
    ManifestError where there is no run; SettingsError for what cannot be meant; OSError when it cannot be written.
    """
    stated = manifest.read(run)
    options = stated.get("options")
    if url is None and isinstance(options, dict) and not (run / directory.SERVER_PROMETHEUS).exists():
        url, match = options.get("prometheus"), match or options.get("prometheus_match")
    if url is None:
        if match:
            raise SettingsError(f"--prometheus-match {match}: needs --prometheus URL")
        return None
    from probe_ext.report.inputs import prometheus_import as from_prometheus  # noqa: PLC0415 - its library is loaded only where it is asked for
    from probe_ext.report.inputs.prometheus_client import PrometheusError  # noqa: PLC0415 - as above

    try:
        from_prometheus.read(run, stated, from_prometheus.source_of(url, match))
    except PrometheusError as error:
        return str(error)
    return None


def exit_code(built: Built) -> int:
    """What a shell is told."""
    if built.judgement.verdict == "invalid":
        return ExitCode.INVALID
    return ExitCode.GATE if built.gate and not built.gate.met else ExitCode.OK


def build(
    run: Path,
    *,
    slo: str | None = None,
    reasoning: Reasoning | None = None,
    fail_under_users: int | None = None,
    given: Given = NOTHING_GIVEN,
) -> Built:
    """Judge a run and write its five files; what is not given comes from the run's own options.

    ManifestError where there is no run to be read; SettingsError for a profile that cannot be used; OSError when the
    directory cannot be written.
    """
    stated = manifest.read(run)
    options = stated.get("options")
    options = options if isinstance(options, dict) else {}
    profile = _profile(stated, slo)
    evidence = frames.load(run)
    judgement = judge(evidence, profile, reasoning=reasoning, given=_given(given, options))
    own = options.get("fail_under_users")
    wanted = fail_under_users or (own if isinstance(own, int) else None)
    capacity = judgement.to_json()
    validate(capacity)
    met = gate(capacity, wanted)
    view = page.page(capacity, evidence, profile)
    _write(run, capacity, met, view)
    manifest.replace_text(run / directory.PAUSES, pauses.csv_text(evidence, profile))
    return Built(judgement, met, run / directory.CAPACITY_HTML)


def _given(asked: Given, options: dict[str, Any]) -> Given:
    """What was asked for now, else what stood in the run's options."""
    own = [number(options, name) for name in _GIVEN]
    return Given(
        asked.think_time if asked.think_time is not None else own[0],
        asked.price_per_hour if asked.price_per_hour is not None else own[1],
    )


def _read_by(option: Option) -> Callable[[str], Any]:
    """How argparse reads an option of the package: what is wrong with it is said in one line."""

    def read(text: str) -> Any:
        try:
            return option.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text}: {error}") from error

    return read


def _profile(stated: manifest.Manifest, slo: str | None) -> SloProfile:
    """The profile asked for, else the one that the run carries, else the default; SettingsError when it is wrong."""
    carried = stated.get("profile")
    if slo is None and isinstance(carried, dict):
        try:
            return SloProfile.model_validate(carried)
        except ValueError as error:
            raise SettingsError(f"{directory.MANIFEST}: profile: not one that this version knows: {error}") from error
    return load_profile(slo or DEFAULT_PROFILE, folder("configs") / "slo")


def validate(capacity: dict[str, Any]) -> None:
    """jsonschema.ValidationError when capacity.json would break its contract: a defect, whatever the run held."""
    _contract().validate(capacity)


@cache
def _contract() -> jsonschema.Draft202012Validator:
    """Made once: whether the schema is itself one is for the tests to say, and takes longer than a report's check."""
    schema = resources.files("probe_ext.verdict.values").joinpath("capacity.schema.json").read_text(encoding="utf-8")
    return jsonschema.Draft202012Validator(json.loads(schema))


def _write(run: Path, capacity: dict[str, Any], met: Gate | None, view: page.Page) -> None:
    text = json.dumps(capacity, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    manifest.replace_text(run / directory.CAPACITY_JSON, text)
    manifest.replace_text(run / directory.SUMMARY, summary_and_junit.summary(view, capacity, met))
    manifest.replace_text(run / directory.JUNIT, summary_and_junit.junit(capacity, met))
    manifest.replace_text(run / directory.CAPACITY_HTML, render.html(view))


def _users(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: is no whole number of 1 or more")
    return int(text)
