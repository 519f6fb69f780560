"""Check before a run that its gates can be applied afterwards: a run of an hour must not end with a usage error."""

from pathlib import Path

from probe_ext.load.level_plan import LevelPlan
from probe_ext.run import manifest
from probe_ext.run.directory import CAPACITY_JSON, contains_run
from probe_ext.run.manifest import ManifestError
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.gate_limits import gate_limits
from probe_ext.settings.options import Options


def check_gates(options: Options) -> None:
    """SettingsError if a limit is for a level that is not planned, or the baseline is missing or damaged."""
    plan = options.plan
    for limit in gate_limits(options.fail_over or ""):
        if isinstance(plan, LevelPlan) and limit.users is not None and limit.users not in plan.levels:
            levels = ", ".join(map(str, plan.levels))
            raise SettingsError(f"--fail-over {limit.name}@{limit.users}: not one of the levels {levels}")
    if options.baseline is not None:
        _check_baseline(Path(options.baseline), options.out)


def _check_baseline(path: Path, out: str | None) -> None:
    if out is not None and path.resolve() == Path(out).resolve():
        raise SettingsError(f"--baseline {path}: is the --out of this run")
    if contains_run(path):
        try:
            manifest.read(path)
        except ManifestError as error:
            raise SettingsError(f"--baseline {error}") from error
    elif not path.is_file() and not (path / CAPACITY_JSON).is_file():
        raise SettingsError(f"--baseline {path}: neither a run directory nor a {CAPACITY_JSON}")
