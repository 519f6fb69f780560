"""Find a scenario's locustfile, and read the defaults that it sets, without importing it."""

import ast
from pathlib import Path

from probe_ext.bundled import folder, named_otherwise
from probe_ext.closest_name import did_you_mean
from probe_ext.settings.errors import SettingsError

_SET_DEFAULTS = "set_defaults"


def find_locustfile(scenario: str) -> Path:
    """Return the locustfile of a scenario, or the file itself. SettingsError if there is none."""
    if "://" in scenario:
        raise SettingsError(f"{scenario}: not a scenario; give the server as --host {scenario}")
    path = Path(scenario)
    if path.suffix == ".py":
        if path.is_file():
            return path
        raise SettingsError(f"{scenario}: no such file")
    if path.suffix in (".yaml", ".yml"):
        raise SettingsError(f"{scenario}: not a scenario; give a workload as --workload {scenario}")
    known = folder("locustfiles") / f"{scenario}.py"
    if not known.is_file():
        names = sorted(p.stem for p in folder("locustfiles").glob("*.py"))
        meant = named_otherwise(scenario, "scenario") or did_you_mean(scenario, names)
        raise SettingsError(f"{scenario}: unknown scenario{meant}; valid names are {', '.join(names)}")
    return known


def scenario_defaults(locustfile: Path) -> dict[str, str]:
    """Return the option defaults that a locustfile sets as constants with `parser.set_defaults(…)`.

    Other defaults cannot be known without Locust and are left out. SettingsError if the file is not valid Python.
    """
    try:
        tree = ast.parse(locustfile.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise SettingsError(f"{locustfile}: cannot be read: {error}") from error
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {
        keyword.arg: str(keyword.value.value)
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == _SET_DEFAULTS
        for keyword in call.keywords
        if keyword.arg and isinstance(keyword.value, ast.Constant)
    }
