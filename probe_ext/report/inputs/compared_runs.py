"""Read what a comparison compares: run directories, or a `capacity.json` where the run is gone."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema

from probe_ext.bundled import folder
from probe_ext.compare.replies import run_replies
from probe_ext.compare.set_up import Run, SetUp
from probe_ext.measure.safe_text import all_printable
from probe_ext.report.inputs import frames
from probe_ext.run import directory, manifest
from probe_ext.run.manifest import ManifestError
from probe_ext.run.regular_files import check_regular
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.slo import SloProfile, load_profile, profile_of_run
from probe_ext.verdict.evidence.manifest_view import mapping, number
from probe_ext.verdict.judge import NOTHING_GIVEN, judge
from probe_ext.verdict.results.team_size import Given
from probe_ext.verdict.values.judgement import SCHEMA

DEFAULT_PROFILE = "chat"
MAX_SET_UPS = 10
MAX_CAPACITY_BYTES = 1 << 24
_NUMBER = {"type": ["number", "null"]}
_COUNT = {"type": ["integer", "null"]}
_PAIR = {"type": ["array", "null"], "minItems": 2, "maxItems": 2, "items": _COUNT}
_LEVEL = {
    "users": {"type": "integer", "minimum": 0},
    "band": {"type": "boolean"},
    "state": {"enum": ["held", "failed", "unproven"]},
    "total_tokens_per_s": _NUMBER,
    "t_start": {"type": "number"},
    "t_end": {"type": "number"},
    **dict.fromkeys(("served_share", "served_share_low", "served_share_high"), _NUMBER),
}
_USED = {
    "schema": {"const": SCHEMA},
    "verdict": {"enum": ["valid", "invalid", "unproven"]},
    "sentence": {"type": "string", "minLength": 1},
    "served_users": _COUNT,
    "estimate": _NUMBER,
    "interval": _PAIR,
    "bracket": {**_PAIR, "type": "array"},
    "suggestion": {"type": ["object", "null"], "properties": {"users": {"type": "integer"}}, "required": ["users"]},
    "levels": {"type": "array", "items": {"type": "object", "properties": _LEVEL, "required": list(_LEVEL)}},
    "cold_user": {"type": "object", "properties": dict.fromkeys(("ratio", "ratio_low", "ratio_high"), _NUMBER)},
    "drift": {"type": "array", "items": {"type": "integer"}},
    "contradictions": {"type": "array", "items": {"type": "integer"}},
    "findings": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"check": {"type": "string"}, "why": {"type": "string"}, "state": {}, "invalidates": {}},
            "required": ["check", "why", "state", "invalidates"],
        },
    },
    "diagnosis": {
        "type": "object",
        "properties": {"bounds": {"type": "array", "items": {"type": "string"}}},
        "required": ["bounds"],
    },
    "profile": {"type": "object"},
}
"""what a comparison reads of a `capacity.json`, and its types: other keys may be those of another version"""
_READER = jsonschema.Draft202012Validator({"type": "object", "properties": _USED, "required": list(_USED)})


def run_profile(content: manifest.Manifest, slo: str | None) -> SloProfile:
    """Return the requested profile, else the run's own, else the default. SettingsError if it is invalid."""
    own = content.get("profile")
    if slo is None and isinstance(own, dict):
        try:
            return profile_of_run(own)
        except ValueError as error:
            raise SettingsError(
                f"{directory.MANIFEST}: profile.{error}; judge the run by another with --slo"
            ) from error
    return load_profile(slo or DEFAULT_PROFILE, folder("configs") / "slo")


def load_set_up(
    name: str, paths: Sequence[Path], slo: str | None, price: float | None, given: Given = NOTHING_GIVEN
) -> SetUp:
    """Load all runs of a set-up. ManifestError or SettingsError if one of them can't be used."""
    set_up = SetUp(name, [load_run(path, slo, price, given=given) for path in paths])
    if len(paths) > 1 and not set_up.replies:
        raise SettingsError(f"{name}: repeated runs can be put together only from their run directories")
    return set_up


def load_run(
    path: Path,
    slo: str | None = None,
    price: float | None = None,
    judged_by: tuple[SloProfile, bool] | None = None,
    given: Given = NOTHING_GIVEN,
) -> Run:
    """Load and judge a run directory, or read a `capacity.json`. ManifestError or SettingsError if it can't be used.

    `slo`: judge it by this profile instead of its own. `judged_by`: the same, and whether it replaces those of kinds of
    user as well; a `capacity.json` was judged by its own for good.
    `price`: of the server and hour, instead of the run's own.
    """
    if path.is_dir() and directory.contains_run(path):
        content = manifest.read(path)
        by = judged_by if judged_by is not None else (run_profile(content, slo), slo is not None)
        return _whole_run(path, content, by, price, given)
    file = path / directory.CAPACITY_JSON if path.is_dir() else path
    if not file.exists():
        raise ManifestError(f"{path}: neither a run directory nor a {directory.CAPACITY_JSON}")
    if slo is not None:
        raise SettingsError(f"--slo {slo}: {file} can't be judged by another profile without the files of its run")
    return Run(str(path), read_capacity(file), price_per_hour=price)


def _whole_run(
    path: Path, content: manifest.Manifest, judged_by: tuple[SloProfile, bool], price: float | None, given: Given
) -> Run:
    """Judge by a profile, which also replaces those of the kinds of user or not."""
    evidence, (profile, one_profile) = frames.load(path), judged_by
    own = number(mapping(content.get("options")), "price_per_hour")
    capacity = judge(evidence, profile, given=given, one_profile=one_profile).to_json()
    _refuse_rates(path, capacity)
    return Run(
        path=str(path),
        capacity=capacity,
        manifest=evidence.manifest,
        profile=profile,
        replies=run_replies(evidence, profile, one_profile=one_profile),
        price_per_hour=price if price is not None else own,
    )


def read_capacity(file: Path) -> dict[str, Any]:
    """Read a `capacity.json` of this schema. ManifestError names what is wrong with it."""
    try:
        check_regular(file, MAX_CAPACITY_BYTES)
        content = all_printable(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ManifestError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(
            f"{file}: neither a run directory nor a {directory.CAPACITY_JSON}: not valid JSON"
        ) from error
    _refuse_rates(file, content)
    problem = next(iter(_READER.iter_errors(content)), None)
    if problem is not None:
        key = "/".join(map(str, problem.absolute_path)) or directory.CAPACITY_JSON
        raise ManifestError(
            f"{file}: {key}: not a {directory.CAPACITY_JSON} of schema {SCHEMA}: {problem.message[:120]}"
        )
    return dict(content)


def given_set_ups(given: Sequence[str], *, least: int) -> list[tuple[str, list[Path]]]:
    """Read set-ups as a command line gives them: name and runs of each. SettingsError if they can't be told apart."""
    if not least <= len(given) <= MAX_SET_UPS:
        raise SettingsError(
            f"{len(given)} given: must be {least} to {MAX_SET_UPS} set-ups; runs of one are joined by commas"
        )
    read = [_set_up(text) for text in given]
    names = distinct_names([paths for _, paths in read], [name for name, _ in read])
    for what, all_of_them in (("name", names), ("run", [str(p.resolve()) for _, paths in read for p in paths])):
        twice = next((one for one in all_of_them if all_of_them.count(one) > 1), None)
        if twice is not None:
            for _, paths in read:
                _refuse_no_runs(paths)
            raise SettingsError(f"{twice}: the same {what} is given twice")
    return [(name, paths) for name, (_, paths) in zip(names, read, strict=True)]


def _refuse_no_runs(paths: Sequence[Path]) -> None:
    """ManifestError for a path without a run: that it is given twice matters less."""
    for path in paths:
        if path.is_file():
            read_capacity(path)
        elif not (directory.contains_run(path) or (path / directory.CAPACITY_JSON).exists()):
            raise ManifestError(f"{path}: neither a run directory nor a {directory.CAPACITY_JSON}")


def _set_up(text: str) -> tuple[str | None, list[Path]]:
    """Read `[NAME=]RUN[,RUN…]`; a path that exists is taken whole."""
    if Path(text).exists():
        return None, [Path(text)]
    name, equals, runs = text.partition("=")
    paths = [Path(part) for part in (runs if equals else text).split(",") if part]
    if equals and Path(runs).exists():
        paths = [Path(runs)]
    if not paths or (equals and not name):
        raise SettingsError(f"{text}: is not a set-up such as RUN, RUN,RUN or NAME=RUN")
    return (name if equals else None), paths


def _refuse_rates(path: Path, capacity: Any) -> None:
    """SettingsError for a run whose levels are not numbers of users."""
    if isinstance(capacity, dict) and capacity.get("load") == "rate":
        raise SettingsError(
            f"{path}: held rates (--rate, or a workload's series or trace) instead of numbers of users, and can't be "
            "compared yet; use --levels"
        )


def distinct_names(paths: Sequence[Sequence[Path]], names: Sequence[str | None]) -> list[str]:
    """Return a name for each set-up: as given, else its first run's directory, or path where two have the same name."""
    short = [name or _short(first) for name, (first, *_) in zip(names, paths, strict=True)]
    return [
        str(first) if short.count(one) > 1 and name is None else one
        for one, name, (first, *_) in zip(short, names, paths, strict=True)
    ]


def _short(path: Path) -> str:
    folder_of = path.parent if path.name == directory.CAPACITY_JSON else path
    return folder_of.resolve().name or str(path)
