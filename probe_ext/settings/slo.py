"""SLO profiles: when a person feels served. They live apart from the load, so that an old run can be judged anew.

A dimension that a profile leaves out is not judged; `answer` (did a whole answer come) always is. Times are seconds,
speeds tokens a second, shares fractions of one.
"""

import difflib
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from probe_ext.measure.fluidity import Deadlines
from probe_ext.settings.errors import SettingsError

Reasoning = Literal["shown", "hidden"]
REASONINGS: tuple[Reasoning, ...] = ("shown", "hidden")

Positive = Field(gt=0, allow_inf_nan=False)
Share = Field(ge=0, le=1)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _AtMost(_Part):
    """Served up to the first bound, strained up to the second, broken beyond."""

    served: float = Positive
    strained: float = Positive

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.strained < self.served:
            raise ValueError(f"strained: {self.strained:g}: must not be below served ({self.served:g})")
        return self


class FirstWord(_AtMost):
    """The wait until the first word, seconds; both bounds belong to the better side."""

    instant: float | None = Field(default=None, gt=0)
    """up to here it feels instant; told, not judged"""
    wonder: float | None = Field(default=None, gt=0)
    """past this, people wonder whether it works; told, not judged"""


class Silence(_AtMost):
    """The longest gap in mid-reply, seconds; a gap of just a bound's length belongs to the worse side."""


class WholeAnswer(_AtMost):
    """The time until the whole answer is there, seconds; both bounds belong to the better side."""


class Typing(_Part):
    """The decode rate, tokens a second: 1/TPOT. Both bounds belong to the better side."""

    served: float = Positive
    strained: float = Positive
    min_tokens: int = Field(default=8, ge=2)
    """shorter replies have no typing speed worth the name"""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.strained > self.served:
            raise ValueError(f"strained: {self.strained:g}: must not be above served ({self.served:g})")
        return self


class Users(_Part):
    """From replies to people. A user is followed over all judged replies of a level."""

    served_share: float = Field(default=0.90, gt=0, le=1)
    """of a served user's replies, at least so many are served"""
    broken_share: float = Field(default=0.01, ge=0, lt=1)
    """and at most so many broken"""
    broken_share_from: int = Field(default=100, ge=1)
    """with fewer replies than this, none may be broken"""
    decided_from: int = Field(default=10, ge=1)
    """with fewer replies than this, a single strained one leaves the user undecided"""


class LevelRule(_Part):
    """From people to levels."""

    served_share: float = Field(default=0.95, gt=0, le=1)
    """a level holds with at least so many of its heard users served"""
    min_replies: int = Field(default=3, ge=1)
    """judged replies that as many users must have for a level to hold; the run's own `--min-replies` goes first"""


class SloProfile(_Part):
    """One profile, checked and frozen."""

    name: str = Field(min_length=1, max_length=60)
    description: str = ""
    first_word: FirstWord | None = None
    first_word_from: Literal["due", "sent"] = "due"
    """`due`: from when the user wanted to send (a wait in an accept queue is a wait), less what we were late;
    `sent`: from when the request's bytes were handed over"""
    typing: Typing | None = None
    silence: Silence | None = None
    whole_answer: WholeAnswer | None = None
    reasoning: Reasoning = "shown"
    """whether the model's thinking is text that the user reads"""
    users: Users = Users()
    level: LevelRule = LevelRule()

    @property
    def deadlines(self) -> Deadlines | None:
        """When each token of a reply is due, for the fluidity index; None without a first word and a typing speed."""
        if self.first_word is None or self.typing is None:
            return None
        return Deadlines(
            first=self.first_word.served,
            each=1 / self.typing.served,
            from_sent=self.first_word_from == "sent",
            visible=self.reasoning == "hidden",
        )


def load_profile(name_or_path: str, folder: Path) -> SloProfile:
    """The profile of this name in `folder`, or in the file that is named.

    SettingsError, in one line with file, key and value, when there is none or it cannot be used.
    """
    path = _find(name_or_path, folder)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"--slo {name_or_path}: {path}: cannot be read: {_line(error)}") from error
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is no YAML: {_line(error)}") from error
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: holds {'nothing' if raw is None else type(raw).__name__}, wanted keys and values")
    try:
        return SloProfile.model_validate({"name": path.stem, **raw})
    except ValidationError as error:
        raise SettingsError(f"{path}: {_first(error)}") from error


def profile_names(folder: Path) -> list[str]:
    """The names of the profiles in a folder, sorted."""
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
        f"--slo {name_or_path}: no such profile{_meant(name_or_path, names)}; there are: {', '.join(names)}"
    )


def _first(error: ValidationError) -> str:
    """One fault in one line: key, value, reason. An unknown key goes first: it is why another seems missing."""
    fault = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        known = _siblings(fault["loc"][:-1])
        return f"{key}: unknown key{_meant(str(fault['loc'][-1]), known)}; there are: {', '.join(known)}"
    if fault["type"] == "missing":
        return f"{key}: is missing"
    if fault["type"] == "value_error":
        return f"{key}.{_line(fault['ctx']['error'])}"
    return f"{key}: {fault['input']!r}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def _siblings(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that are known where an unknown one stood."""
    part: type[BaseModel] = SloProfile
    for key in loc:
        part = _PARTS[str(key)]
    return list(part.model_fields)


_PARTS: dict[str, type[BaseModel]] = {
    "first_word": FirstWord,
    "typing": Typing,
    "silence": Silence,
    "whole_answer": WholeAnswer,
    "users": Users,
    "level": LevelRule,
}


def _meant(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _line(error: Any) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())
