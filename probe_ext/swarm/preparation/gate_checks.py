"""Check before a run that its gates can be applied afterwards: a run of an hour must not end with a usage error."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probe_ext.load.level_plan import LevelPlan
from probe_ext.load.series_plan import SeriesPlan
from probe_ext.run import manifest
from probe_ext.run.directory import CAPACITY_JSON, contains_run
from probe_ext.run.manifest import ManifestError
from probe_ext.run.regular_files import check_regular
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.gate_limits import gate_limits
from probe_ext.settings.options import Options, Plan

_MAX_CAPACITY_BYTES = 1 << 24


def check_gates(options: Options) -> None:
    """SettingsError if a limit is for a level that is not planned, or the baseline is missing or damaged."""
    plan = options.plan
    for limit in gate_limits(options.fail_over or ""):
        if isinstance(plan, LevelPlan) and limit.users is not None and limit.users not in plan.levels:
            levels = ", ".join(map(str, plan.levels))
            raise SettingsError(f"--fail-over {limit.name}@{limit.users}: not one of the levels {levels}")
    if options.baseline is not None:
        _check_baseline(Path(options.baseline), options.out)


def check_gates_of_series(options: Options, plan: Plan | None) -> None:
    """SettingsError for a gate on users, or on replies at some number of them, if a series of rates is held instead."""
    if not isinstance(plan, SeriesPlan):
        return
    for name in ("fail_under_users", "fail_over", "baseline"):
        if (given := getattr(options, name)) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise SettingsError(
                f"{flag} {given}: cannot be combined with the workload's series, trace or hosts, which have rates "
                "instead of users; use --fail-under-rate"
            )


def _check_baseline(path: Path, out: str | None) -> None:
    if out is not None and path.resolve() == Path(out).resolve():
        raise SettingsError(f"--baseline {path}: is the --out of this run")
    file = path / CAPACITY_JSON if path.is_dir() else path
    if contains_run(path):
        try:
            held_rates = bool((_mapping(manifest.read(path).get("plan"))).get("rates"))
        except ManifestError as error:
            raise SettingsError(f"--baseline {error}") from error
    elif file.is_file():
        held_rates = _read_capacity(file).get("load") == "rate"
    else:
        raise SettingsError(f"--baseline {path}: neither a run directory nor a {CAPACITY_JSON}")
    if held_rates:
        raise SettingsError(f"--baseline {path}: held rates instead of numbers of users, so it can't be a baseline yet")


def _read_capacity(file: Path) -> Mapping[str, Any]:
    try:
        check_regular(file, _MAX_CAPACITY_BYTES)
        return _mapping(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"--baseline {file}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"--baseline {file}: not valid JSON") from error


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
