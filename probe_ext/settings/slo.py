"""SLO profiles: thresholds that decide whether a user is served. Independent of the load, so a run can be re-judged.

Dimensions missing from a profile are not judged, except `answer` (did a complete answer arrive), which always is.
Times are seconds, speeds tokens per second, shares fractions of 1.
"""

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from probe_ext.measure.fluidity import Deadlines
from probe_ext.measure.safe_text import printable
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.yaml_values import find_yaml, first_error, read_mapping, yaml_names

Reasoning = Literal["shown", "hidden"]
REASONINGS: tuple[Reasoning, ...] = ("shown", "hidden")

OBSOLETE_KEYS: Mapping[str, Set[str]] = {"users": {"broken_share_from", "decided_from"}, "level": {"min_replies"}}
"""By section. Profiles of older runs have them; they have no effect."""

_MAX_PROFILE_BYTES = 64 * 1024

Positive = Field(gt=0, allow_inf_nan=False)


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
    """Time to the complete answer in seconds; bounds are inclusive. With a rate, longer answers may take longer."""

    served_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """tokens per second: an answer of n tokens is served up to `served` + n ÷ this"""
    strained_rate: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """likewise, strained up to `strained` + n ÷ this"""

    @model_validator(mode="after")
    def _rates_in_order(self) -> Self:
        if (self.served_rate is None) != (self.strained_rate is None):
            raise ValueError("served_rate: must be given together with strained_rate")
        if self.served_rate is not None and self.strained_rate is not None and self.strained_rate > self.served_rate:
            raise ValueError(
                f"strained_rate: {self.strained_rate:g}: must be at most served_rate ({self.served_rate:g})"
            )
        return self


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


def load_profile(name_or_path: str, folder: Path, label: str | None = None) -> SloProfile:
    """Load a profile by name from `folder`, or from a file.

    SettingsError, one line with file, key and value, if it is missing or invalid. `label`: what the line begins with
    if there is no such profile (default: the option).
    """
    label = f"--slo {name_or_path}" if label is None else label
    path = find_yaml(name_or_path, folder, label, "profile")
    raw = read_mapping(path, label, _MAX_PROFILE_BYTES)
    try:
        return SloProfile.model_validate({"name": path.stem, **raw})
    except ValidationError as error:
        raise SettingsError(f"{path}: {_obsolete_key(error) or first_error(error, _known_keys)}") from error
    except (RecursionError, TypeError) as error:  # aliases of themselves, keys that are not text
        raise SettingsError(f"{path}: must contain keys and values, without aliases") from error


def profile_of_run(recorded: Mapping[str, Any]) -> SloProfile:
    """Return the profile that a run recorded; obsolete keys of older versions are ignored.

    ValueError, of one line, if it is invalid.
    """
    try:
        return SloProfile.model_validate(_without_obsolete(recorded))
    except ValidationError as error:
        raise ValueError(first_error(error, _known_keys)) from error


def _without_obsolete(recorded: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(recorded)
    for section, keys in OBSOLETE_KEYS.items():
        if isinstance(kept.get(section), Mapping):
            kept[section] = {key: value for key, value in kept[section].items() if key not in keys}
    return kept


def profile_names(folder: Path) -> list[str]:
    """Return the sorted names of the profiles in a folder."""
    return yaml_names(folder)


def _obsolete_key(error: ValidationError) -> str | None:
    """Name an unknown key that older versions had; None if the first unknown key is another."""
    unknown = [entry["loc"] for entry in error.errors() if entry["type"] == "extra_forbidden"]
    if not unknown:
        return None
    section, name = ".".join(map(str, unknown[0][:-1])), str(unknown[0][-1])
    if name not in OBSOLETE_KEYS.get(section, ()):
        return None
    return f"{section}.{name}: obsolete key without effect, remove it: levels are now proven from all their replies"


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
