"""SLO profiles: thresholds that decide whether a user is served. Independent of the load, so a run can be re-judged.

Dimensions missing from a profile are not judged, except `answer` (did a complete answer arrive), which always is.
Times are seconds, speeds tokens per second, shares fractions of 1.
"""

import reprlib
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from probe_ext.closest_name import did_you_mean
from probe_ext.measure.fluidity import Deadlines
from probe_ext.measure.safe_text import printable, safe_text
from probe_ext.settings.errors import SettingsError

Reasoning = Literal["shown", "hidden"]
REASONINGS: tuple[Reasoning, ...] = ("shown", "hidden")

OBSOLETE_KEYS: Mapping[str, Set[str]] = {"users": {"broken_share_from", "decided_from"}, "level": {"min_replies"}}
"""By section. Profiles of older runs have them; they have no effect."""

_MAX_PROFILE_BYTES = 64 * 1024
_MAX_MESSAGE_LENGTH = 500

Positive = Field(gt=0, allow_inf_nan=False)
Share = Field(ge=0, le=1)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _AtMost(_Section):
    """Upper bounds: served up to the first, strained up to the second, broken above."""

    served: float = Positive
    strained: float = Positive

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.strained < self.served:
            raise ValueError(f"strained: {self.strained:g}: must be at least served ({self.served:g})")
        return self


class FirstWord(_AtMost):
    """Time to the first word (TTFT) in seconds; bounds are inclusive."""

    instant: float | None = Field(default=None, gt=0)
    """feels instant up to here; reported, not judged"""
    wonder: float | None = Field(default=None, gt=0)
    """users start to wonder beyond this; reported, not judged"""


class Silence(_AtMost):
    """Longest gap within a reply in seconds; bounds are exclusive."""


class WholeAnswer(_AtMost):
    """Time to the complete answer in seconds; bounds are inclusive."""


class Typing(_Section):
    """Decode speed in tokens per second (1/TPOT); lower bounds, inclusive."""

    served: float = Positive
    strained: float = Positive
    min_tokens: int = Field(default=8, ge=2)
    """shorter replies are not judged by typing speed"""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.strained > self.served:
            raise ValueError(f"strained: {self.strained:g}: must be at most served ({self.served:g})")
        return self


class Users(_Section):
    """When a user is served, by their replies in the long run."""

    served_share: float = Field(default=0.90, gt=0, le=1)
    """minimum share of served replies of a served user"""
    broken_share: float = Field(default=0.01, ge=0, lt=1)
    """maximum share of broken replies of a served user"""


class LevelRule(_Section):
    """When a level holds."""

    served_share: float = Field(default=0.95, gt=0, le=1)
    """minimum share of served users"""


class SloProfile(_Section):
    """A validated profile."""

    name: Annotated[str, Field(min_length=1, max_length=60), AfterValidator(printable)]
    description: Annotated[str, AfterValidator(printable)] = ""
    first_word: FirstWord | None = None
    first_word_from: Literal["due", "sent"] = "due"
    """`due`: when the user wanted to send, less our own delay (so waiting in an accept queue counts);
    `sent`: when the request was written to the connection"""
    typing: Typing | None = None
    silence: Silence | None = None
    whole_answer: WholeAnswer | None = None
    reasoning: Reasoning = "shown"
    """whether users read the model's reasoning"""
    users: Users = Users()
    level: LevelRule = LevelRule()

    @property
    def deadlines(self) -> Deadlines | None:
        """Token deadlines for the fluidity index; None unless both first word and typing are judged."""
        if self.first_word is None or self.typing is None:
            return None
        return Deadlines(
            first=self.first_word.served,
            each=1 / self.typing.served,
            from_sent=self.first_word_from == "sent",
            visible=self.reasoning == "hidden",
        )


def load_profile(name_or_path: str, folder: Path) -> SloProfile:
    """Load a profile by name from `folder`, or from a file.

    SettingsError, one line with file, key and value, if it is missing or invalid.
    """
    path = _find(name_or_path, folder)
    try:
        if path.stat().st_size > _MAX_PROFILE_BYTES:
            raise SettingsError(f"--slo {name_or_path}: {path}: is larger than {_MAX_PROFILE_BYTES // 1024} KiB")
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--slo {name_or_path}: {path}: cannot be read: {_line(error)}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not valid YAML: {_line(error)}") from error
    except RecursionError as error:
        raise SettingsError(f"{path}: is not valid YAML: it is nested too deeply") from error
    except (ValueError, TypeError) as error:  # impossible dates, integers too long to convert, unhashable keys
        raise SettingsError(f"{path}: is not valid YAML: {_line(error)}") from error
    if not isinstance(raw, dict):
        raise SettingsError(
            f"{path}: must contain keys and values, not {'nothing' if raw is None else type(raw).__name__}"
        )
    try:
        return SloProfile.model_validate({"name": path.stem, **raw})
    except ValidationError as error:
        raise SettingsError(f"{path}: {safe_text(_first_error(error), length=_MAX_MESSAGE_LENGTH)}") from error
    except (RecursionError, TypeError) as error:  # aliases of themselves, keys that are not text
        raise SettingsError(f"{path}: must contain keys and values, without aliases") from error


def profile_of_run(recorded: Mapping[str, Any]) -> SloProfile:
    """Return the profile that a run recorded; obsolete keys of older versions are ignored. ValueError if invalid."""
    return SloProfile.model_validate(_without_obsolete(recorded))


def _without_obsolete(recorded: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(recorded)
    for section, keys in OBSOLETE_KEYS.items():
        if isinstance(kept.get(section), Mapping):
            kept[section] = {key: value for key, value in kept[section].items() if key not in keys}
    return kept


def profile_names(folder: Path) -> list[str]:
    """Return the sorted names of the profiles in a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _find(name_or_path: str, folder: Path) -> Path:
    if name_or_path.endswith((".yaml", ".yml")) or "/" in name_or_path or "\\" in name_or_path:
        path = Path(name_or_path)
        if path.is_file():
            return path
        raise SettingsError(f"--slo {name_or_path}: no such file")
    path = folder / f"{name_or_path}.yaml"
    if path.is_file():
        return path
    names = profile_names(folder)
    raise SettingsError(
        f"--slo {name_or_path}: no such profile{did_you_mean(name_or_path, names)}; available: {', '.join(names)}"
    )


def _first_error(error: ValidationError) -> str:
    """Describe one error: key, value, reason. Unknown keys first: a misspelt key also makes its right name missing."""
    detail = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        section, name = ".".join(str(part) for part in detail["loc"][:-1]), str(detail["loc"][-1])
        if name in OBSOLETE_KEYS.get(section, ()):
            return f"{key}: obsolete key without effect, remove it: levels are now proven from all their replies"
        known = _known_keys(detail["loc"][:-1])
        return f"{key}: unknown key{did_you_mean(name, known)}; valid keys: {', '.join(known)}"
    if detail["type"] == "missing":
        return f"{key}: is missing"
    if detail["type"] == "value_error":
        return f"{key}.{_line(detail['ctx']['error'])}"
    return f"{key}: {reprlib.repr(detail['input'])}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"


def _known_keys(loc: tuple[int | str, ...]) -> list[str]:
    """Return the valid keys of the section at `loc`."""
    section: type[BaseModel] = SloProfile
    for key in loc:
        section = _SECTIONS[str(key)]
    return list(section.model_fields)


_SECTIONS: dict[str, type[BaseModel]] = {
    "first_word": FirstWord,
    "typing": Typing,
    "silence": Silence,
    "whole_answer": WholeAnswer,
    "users": Users,
    "level": LevelRule,
}


def _line(error: Any) -> str:
    return safe_text(str(getattr(error, "strerror", None) or error), length=_MAX_MESSAGE_LENGTH)
