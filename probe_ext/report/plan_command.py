"""`probe plan SET-UP… --people N`: which set-up serves that many people, with how many replicas, at what cost?

Uses finished runs, one or more of each set-up, named as in `probe compare`. Prices come from a YAML list of machines,
by the set-ups' names, or from the runs.

examples:
  probe plan card=runs/rtx3060 big=runs/a100 --people 200 --think-time 60s --machines machines.yaml
  probe plan runs/now runs/quantized --people 40 --outage 5m
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.table import Table
from rich.text import Text

from probe_ext.closest_name import did_you_mean
from probe_ext.compare.plan_capacity import Demand, outage_share, outage_text, plan
from probe_ext.compare.plan_values import Plan, PlannedSetUp
from probe_ext.compare.set_up import SetUp
from probe_ext.exit_codes import ExitCode
from probe_ext.report.inputs.compared_runs import given_set_ups, load_set_up
from probe_ext.report.inputs.machine_prices import machine_prices
from probe_ext.report.outputs.summary_and_junit import markdown
from probe_ext.report.outputs.terminal import console_of
from probe_ext.run import directory, manifest
from probe_ext.run.manifest import ManifestError
from probe_ext.settings import readers
from probe_ext.settings.errors import SettingsError
from probe_ext.verdict.phrasing import formats
from probe_ext.verdict.phrasing.plurals import things
from probe_ext.verdict.results.team_size import Given, money

T = TypeVar("T")
PLAN_JSON = "plan.json"
HEADS = (
    "set-up", "people each", "replicas", "room for", "cost/h", "per person", "per user at once", "per M tokens",
    "per tok/s",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `probe plan`."""
    parser.add_argument("set_ups", metavar="SET-UP", nargs="+", help="[NAME=]RUN[,RUN…]: run directories of one set-up")
    people, seconds = _read(readers.positive_int), _read(readers.positive_seconds)
    parser.add_argument("--people", metavar="N", type=people, required=True, help="people to serve")
    parser.add_argument(
        "--think-time",
        metavar="TIME",
        type=seconds,
        help="time they take between a reply and their next request (default: none, they ask again at once)",
    )
    parser.add_argument("--machines", metavar="FILE", type=Path, help="YAML list of name and price_per_hour")
    parser.add_argument(
        "--slo", metavar="NAME|FILE", help="judge all runs by this SLO profile (default: each by its own)"
    )
    parser.add_argument(
        "--outage", metavar="TIME", type=seconds, help="how an outage of this length looks in a rolling window"
    )
    parser.add_argument(
        "--window",
        metavar="TIME",
        type=seconds,
        default=900.0,
        help="length of that window [15m]",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help=f"write {PLAN_JSON} and {directory.SUMMARY} here")


def main(args: argparse.Namespace) -> int:
    """Plan and print. Returns the exit code."""
    try:
        set_ups = _load(args)
        outage = None if args.outage is None else outage_share(args.outage, args.window)
        planned = plan(set_ups, Demand(args.people, args.think_time), outage)
        if args.out is not None:
            _write(planned, args.out)
    except (ManifestError, SettingsError) as error:
        return _usage_error(str(error))
    except OSError as error:
        return _usage_error(f"{error.filename or args.out}: {error.strerror or error}")
    _show(planned)
    return ExitCode.INVALID if all(set_up.verdict == "invalid" for set_up in set_ups) else ExitCode.OK


def _load(args: argparse.Namespace) -> list[SetUp]:
    prices = machine_prices(args.machines) if args.machines is not None else {}
    given = Given(args.think_time, None)
    named = given_set_ups(args.set_ups, least=1)
    unknown = next((name for name, _ in named if prices and name not in prices), None)
    if unknown is not None:
        raise SettingsError(f"--machines {args.machines}: no machine named {unknown}{did_you_mean(unknown, prices)}")
    return [load_set_up(name, paths, args.slo, prices.get(name), given) for name, paths in named]


def _write(planned: Plan, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if directory.contains_run(out):
        raise SettingsError(f"--out {out}: contains a run; choose another directory")
    text = json.dumps(planned.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    manifest.replace_text(out / PLAN_JSON, text)
    ruled = "|".join("---" for _ in HEADS)
    lines = [f"### {markdown(planned.sentence)}", "", f"|{'|'.join(HEADS)}|", f"|{ruled}|"]
    lines += [f"|{'|'.join(map(markdown, _cells(one)))}|" for one in planned.set_ups]
    lines += ["", *(f"- {markdown(line)}" for line in _notes(planned))]
    manifest.replace_text(out / directory.SUMMARY, "\n".join(lines) + "\n")


def _show(planned: Plan) -> None:
    console = console_of(sys.stdout)
    table = Table(box=None, pad_edge=False)
    for head in HEADS:
        table.add_column(head, justify="left" if head == "set-up" else "right")
    for one in planned.set_ups:
        table.add_row(*_cells(one))
    console.print(table)
    for line in _notes(planned):
        console.print(Text(line))
    console.print(Text(planned.sentence, style="bold"))


def _cells(one: PlannedSetUp) -> Sequence[str]:
    amounts = (
        one.cost_per_hour, one.cost_per_person_hour, one.cost_per_served_user_hour, one.cost_per_million_tokens,
        one.cost_per_token_per_s,
    )  # fmt: skip
    each = formats.count(one.people_per_replica) + (" (computed)" if one.basis == "computed" else "")
    counts = (each, formats.count(one.replicas), formats.count(one.spare_people))
    return (one.name, *counts, *(formats.DASH if amount is None else money(amount) for amount in amounts))


def _notes(planned: Plan) -> list[str]:
    notes = [f"{one.name}: {one.why}." for one in planned.set_ups if one.why]
    if len(planned.set_ups) > 1 or any(one.cost_per_million_tokens for one in planned.set_ups):
        notes.append(
            "No number of users is proven to be served by all, so cost per token can't be compared on equal terms."
            if planned.common_level is None
            else f"Cost per token is that at {things(planned.common_level, 'user')}, which all are proven to serve."
        )
    notes += [planned.change] if planned.change else []
    return notes + ([outage_text(planned.outage)] if planned.outage else [])


def _read(reader: Callable[[str], T]) -> Callable[[str], T]:
    def read(text: str) -> T:
        try:
            return reader(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text}: {error}") from error

    return read


def _usage_error(why: str) -> int:
    print(f"probe plan: {why}", file=sys.stderr)  # noqa: T201 (output of a command)
    return ExitCode.USAGE
