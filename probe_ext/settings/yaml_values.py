"""Read a YAML file into a checked value: errors are one line with file, key, value, and what is valid."""

import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from probe_ext.bundled import named_otherwise
from probe_ext.closest_name import did_you_mean
from probe_ext.measure.safe_text import safe_text
from probe_ext.settings.errors import SettingsError

_MAX_MESSAGE_LENGTH = 500
_MAX_DEPTH = 50

Location = tuple[int | str, ...]


def is_path(name_or_path: str) -> bool:
    """Return whether a text is the path of a YAML file, and not the name of a bundled one."""
    return name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path or "\\" in name_or_path


def find_yaml(name_or_path: str, folder: Path, label: str, what: str) -> Path:
    """Return the file of a name from `folder`, or of a path. SettingsError, after `label`, if there is none.

    `what`: what such a file holds, as `profile`.
    """
    if is_path(name_or_path):
        path = Path(name_or_path)
        if path.is_file():
            return path
        raise SettingsError(f"{label}: no such file")
    names = yaml_names(folder)
    if name_or_path not in names:
        meant = named_otherwise(name_or_path, what) or did_you_mean(name_or_path, names)
        raise SettingsError(f"{label}: no such {what}{meant}; available: {', '.join(names)}")
    return folder / f"{name_or_path}.yaml"


def yaml_names(folder: Path) -> list[str]:
    """Return the sorted names of the YAML files in a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def read_mapping(path: Path, label: str, max_bytes: int, *, aliases: bool = True) -> dict[str, Any]:
    """Read the keys and values of a YAML file. SettingsError, after `label` if the file cannot be read.

    Without `aliases` they are refused: a few lines of them can stand for any amount of content.
    """
    try:
        if path.stat().st_size > max_bytes:
            raise SettingsError(f"{label}: {path}: is larger than {max_bytes // 1024} KiB")
        text = path.read_text(encoding="utf-8")
        if _has_aliases(text) and not aliases:
            raise SettingsError(f"{path}: must contain keys and values, without aliases")
        raw = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{label}: {path}: cannot be read: {one_line(error)}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not valid YAML: {one_line(error)}") from error
    except RecursionError as error:
        raise SettingsError(f"{path}: is not valid YAML: it is nested too deeply") from error
    except (ValueError, TypeError) as error:  # impossible dates, integers too long to convert, unhashable keys
        raise SettingsError(f"{path}: is not valid YAML: {one_line(error)}") from error
    if not isinstance(raw, dict):
        raise SettingsError(
            f"{path}: must contain keys and values, not {'nothing' if raw is None else type(raw).__name__}"
        )
    return raw


def _has_aliases(text: str) -> bool:
    """Return whether a YAML text has aliases. RecursionError early: reading deep nesting takes quadratic time."""
    depth, found = 0, False
    for event in yaml.parse(text, yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise RecursionError
        found = found or isinstance(event, yaml.AliasEvent)
    return found


def first_error(
    error: ValidationError,
    known_keys: Callable[[Location], Sequence[str]],
    shown: Callable[[Location], str] = lambda location: ".".join(map(str, location)),
) -> str:
    """Describe one error: key, value, reason. Unknown keys first: a misspelt key also makes its right name missing.

    `known_keys` returns the valid keys of a section. A ValueError's text goes on after the key: with a deeper key, or
    with a colon.
    """
    detail = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
    location = detail["loc"]
    key = shown(location)
    if detail["type"] == "extra_forbidden":
        known = known_keys(location[:-1])
        text = f"{key}: unknown key{did_you_mean(str(location[-1]), known)}; valid keys: {', '.join(known)}"
    elif detail["type"] == "missing":
        text = f"{key}: is missing"
    elif detail["type"] == "value_error":
        reason = one_line(detail["ctx"]["error"])
        text = f"{key}{reason}" if reason.startswith(":") or not key else f"{key}.{reason}"
    else:
        text = f"{key}: {reprlib.repr(detail['input'])}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
    return safe_text(text, length=_MAX_MESSAGE_LENGTH)


def one_line(error: Any) -> str:
    """Return the text of an error in one line."""
    return safe_text(str(getattr(error, "strerror", None) or error), length=_MAX_MESSAGE_LENGTH)
