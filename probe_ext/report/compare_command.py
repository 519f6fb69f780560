"""`probe compare SET-UP SET-UP…`: what is better, what is worse, and what is undecided?

Compares two to ten set-ups from their files, or measures two servers in turns. A set-up is a run directory, or several
runs of it joined by commas, optionally with a name. If only the capacity.json of a run is left, that is enough for what
it holds. All are compared with the first.

examples:
  probe compare reports/runs/before reports/runs/after
  probe compare fp8=runs/fp8-1,runs/fp8-2 awq=runs/awq-1,runs/awq-2      repeated runs
  probe compare llama=runs/a qwen=runs/b --meant output_lengths
  probe compare http://a:8000 http://b:8000                                   in turns, around their limits
  probe compare http://a:8000 http://b:8000 --levels 8,12,16 --hold 30s       in turns; options as of probe run
  probe compare http://a:8000 --between ./switch.sh --levels 8,12,16          one server, before and after
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from probe_ext.closest_name import did_you_mean
from probe_ext.compare.compare_set_ups import compare
from probe_ext.compare.set_up import SetUp
from probe_ext.compare.set_up_aspects import WAIVABLE
from probe_ext.compare.values import Comparison
from probe_ext.exit_codes import ExitCode
from probe_ext.measure import clock
from probe_ext.report.comparison import comparison_page, comparison_texts
from probe_ext.report.comparison.boundary_levels import SEARCH_OPTIONS, chooses_load, refuse_rates, search_levels
from probe_ext.report.comparison.comparison_schema import validate
from probe_ext.report.comparison.measure_in_turns import (
    MeasurementError,
    Turns,
    before_and_after,
    checked,
    in_turns,
    run_by_probe,
)
from probe_ext.report.comparison.server_check import check_servers
from probe_ext.report.inputs.compared_runs import given_set_ups, load_set_up
from probe_ext.report.outputs.asked_gates import append_to_step_summary
from probe_ext.run import directory, manifest
from probe_ext.run.manifest import ManifestError
from probe_ext.settings.errors import SettingsError
from probe_ext.verdict.levels.visits import criteria_of

COMPARE_HTML = "compare.html"
DEFAULT_PARENT = Path("reports/comparisons")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `probe compare`."""
    parser.add_argument(
        "set_ups", metavar="SET-UP", nargs="+", help="[NAME=]RUN[,RUN…]: run directories of one set-up; or URL"
    )
    parser.add_argument(
        "--slo", metavar="NAME|FILE", help="judge all runs by this SLO profile (default: each by its own)"
    )
    parser.add_argument(
        "--meant",
        metavar="WHAT,…",
        type=_aspects,
        default=(),
        help=f"intended differences, so that a winner may be named: {', '.join(WAIVABLE)}",
    )
    parser.add_argument(
        "--price-per-hour",
        metavar="AMOUNT,…",
        type=_prices,
        default=(),
        help="price of each set-up's server (default: from its run)",
    )
    parser.add_argument(
        "--between", metavar="COMMAND", help="with one URL: command that reconfigures the server in between"
    )
    parser.add_argument(
        "--scenario", metavar="NAME|FILE", default="capacity", help="with URLs: scenario to run [capacity]"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help=f"directory of the result (default: {DEFAULT_PARENT}/<UTC time>)"
    )


def main(args: argparse.Namespace) -> int:
    """Compare and print. Returns the exit code."""
    out = args.out or DEFAULT_PARENT / clock.utc_compact(clock.wall())
    try:
        if any("://" in text for text in args.set_ups):
            comparison, needed = _measured(args, out)
        else:
            comparison, needed = _of_files(args)
        page = write(comparison, needed, out)
    except (ManifestError, SettingsError) as error:
        return _usage_error(str(error))
    except MeasurementError as error:
        return error.code
    except OSError as error:
        return _usage_error(f"{error.filename or args.out}: {error.strerror or error}")
    comparison_texts.show(comparison.to_json(), page, sys.stdout)
    if why := append_to_step_summary(out / directory.SUMMARY):
        _tell(why)
    invalid = any(set_up.verdict == "invalid" for set_up in comparison.set_ups)
    return ExitCode.INVALID if invalid else ExitCode.OK


def write(comparison: Comparison, needed_share: float, out: Path) -> Path:
    """Write all files and return the path of the page. OSError if that fails."""
    content = comparison.to_json()
    validate(content)
    out.mkdir(parents=True, exist_ok=True)
    if directory.contains_run(out):
        raise SettingsError(f"--out {out}: contains a run; choose another directory")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    manifest.replace_text(out / directory.COMPARE_JSON, text)
    manifest.replace_text(out / directory.SUMMARY, comparison_texts.summary(content))
    page = comparison_page.html(comparison_page.comparison_page(content, needed_share))
    manifest.replace_text(out / COMPARE_HTML, page)
    return out / COMPARE_HTML


def _of_files(args: argparse.Namespace) -> tuple[Comparison, float]:
    rest = getattr(args, "rest", ())
    if rest:
        meant = did_you_mean(rest[0].partition("=")[0], _options()) if rest[0].startswith("-") else ""
        raise SettingsError(f"unknown argument {' '.join(rest)!r}{meant}; options of probe run need URLs to measure")
    if args.between is not None:
        raise SettingsError(f"--between {args.between}: requires one URL")
    set_ups = _load(args.set_ups, args.slo, args.price_per_hour)
    return compare(set_ups, args.meant), _needed_share(set_ups)


def _options() -> list[str]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001 - no public access


def _measured(args: argparse.Namespace, out: Path) -> tuple[Comparison, float]:
    """Measure servers, and compare their runs."""
    named = [_named_url(text) for text in args.set_ups]
    if len(named) != (1 if args.between is not None else 2):
        raise SettingsError(f"{len(named)} given: must be two URLs, or one with --between COMMAND")
    names = ["before", "after"] if args.between is not None else [name for name, _ in named]
    if len(set(names)) < len(names):
        raise SettingsError(f"{names[0]}: the same URL or name is given twice; one server needs --between COMMAND")
    urls = [named[0][1], named[-1][1]]
    loaded: list[SetUp] = []

    def compare_runs(runs: Sequence[Sequence[Path]], looks: int) -> Comparison:
        prices = [args.price_per_hour[i % len(args.price_per_hour)] if args.price_per_hour else None for i in range(2)]
        loaded[:] = [
            load_set_up(name, paths, args.slo, price) for name, paths, price in zip(names, runs, prices, strict=True)
        ]
        return compare(loaded, args.meant, looks)

    options = [*getattr(args, "rest", ()), *(() if args.slo is None else ("--slo", args.slo))]
    refuse_rates(options, os.environ)
    check_servers(urls, options)
    if not chooses_load(options, os.environ):
        search = checked(run_by_probe(args.scenario, [*SEARCH_OPTIONS, *options]))
        levels = search_levels(urls[:1] if args.between is not None else urls, out, search, _tell)
        options += ["--levels", ",".join(map(str, levels))]
    turns = Turns(urls, out, run_by_probe(args.scenario, options), _tell)
    if args.between is not None:
        comparison = before_and_after(turns, args.between, compare_runs)
    else:
        comparison = in_turns(turns, compare_runs)
    return comparison, _needed_share(loaded)


def _named_url(text: str) -> tuple[str, str]:
    """Read `[NAME=]URL`."""
    name, equals, url = text.partition("=")
    if equals and "://" not in name:
        return name, url
    if not text.startswith(("http://", "https://")):
        raise SettingsError(f"{text}: must be a URL, as the others are")
    return text, text


def _tell(line: str) -> None:
    print(f"probe compare: {line}", file=sys.stderr, flush=True)  # noqa: T201 (output of a command)


def _load(given: Sequence[str], slo: str | None, prices: Sequence[float]) -> list[SetUp]:
    named = given_set_ups(given, least=2)
    if prices and len(prices) not in {1, len(given)}:
        raise SettingsError(f"--price-per-hour: {len(prices)} given for {len(given)} set-ups; must be 1, or 1 for each")
    each = [prices[i % len(prices)] if prices else None for i in range(len(given))]
    return [load_set_up(name, paths, slo, price) for (name, paths), price in zip(named, each, strict=True)]


def _needed_share(set_ups: Sequence[SetUp]) -> float:
    profile = set_ups[0].runs[0].profile
    if profile is not None:
        return criteria_of(profile).served_share
    users = set_ups[0].runs[0].capacity["profile"].get("users")
    share = users.get("served_share") if isinstance(users, dict) else None
    return share if isinstance(share, float) and 0 < share <= 1 else 0.9


def _usage_error(why: str) -> int:
    print(f"probe compare: {why}", file=sys.stderr)  # noqa: T201 (output of a command)
    return ExitCode.USAGE


def _aspects(text: str) -> tuple[str, ...]:
    given = tuple(part.strip() for part in text.split(","))
    unknown = [part for part in given if part not in WAIVABLE]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]}: must be one of {', '.join(WAIVABLE)}")
    return given


def _prices(text: str) -> tuple[float, ...]:
    try:
        prices = tuple(float(part) for part in text.split(","))
    except ValueError:
        prices = ()
    if not prices or any(not 0 < price < 1e9 for price in prices):
        raise argparse.ArgumentTypeError(f"{text}: must be amounts above 0, e.g. 2.5,1.8")
    return prices
