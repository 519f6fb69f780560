"""A workload: kinds of user and how they arrive. Read from YAML, or composed by a locustfile."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator, model_validator

from probe_ext.bundled import folder
from probe_ext.measure.safe_text import printable
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.yaml_values import Location, find_yaml, first_error, read_mapping, yaml_names
from probe_ext.workload.agent_kind import Agent, Compaction, Subagents
from probe_ext.workload.arrival_times import MAX_CV, MIN_CV
from probe_ext.workload.distribution_forms import MAX_VALUE, MIN_VALUE, Distribution
from probe_ext.workload.section import FilePath, Section
from probe_ext.workload.trace_load import TraceLoad
from probe_ext.workload.traces.tap_recording import is_recording
from probe_ext.workload.user_kind import ModelChoice, PromptSource, SystemPrompt, UserKind

MAX_KINDS = 16
_MAX_FILE_BYTES = 256 * 1024
_TRACE_FILES = (".jsonl", ".ndjson", ".csv", ".gz")
_STATED_BY_TRACE = ("prompts", "system_prompt", "shared_prefix_tokens", "turns", "output_tokens")
_ALIASED = "must contain keys and values, without aliases"


class Arrivals(Section):
    """How requests come: users who wait for their answer, or an open stream at a rate."""

    form: Literal["users", "constant", "poisson", "gamma", "series", "trace"] = "users"
    cv: float | None = Field(default=None, ge=MIN_CV, le=MAX_CV, allow_inf_nan=False)
    """gamma: standard deviation of the gaps by their mean; above 1, arrivals come in bursts"""
    file: FilePath | None = None
    """series: CSV of times and rates"""
    rate_scale: float = Field(default=1.0, ge=MIN_VALUE, le=MAX_VALUE, allow_inf_nan=False)
    time_scale: float = Field(default=1.0, ge=MIN_VALUE, le=MAX_VALUE, allow_inf_nan=False)
    """series: how many times faster than recorded"""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            return {"form": raw}
        if not isinstance(raw, dict):
            raise ValueError(": must be `users`, or one of constant, poisson, gamma and series")  # noqa: TRY004 -- as everywhere
        if "form" in raw or not raw:
            return raw
        if len(raw) != 1 or not isinstance(next(iter(raw.values())), dict | NoneType):
            raise ValueError(": must be `users`, or a single key of constant, poisson, gamma and series")
        form, values = next(iter(raw.items()))
        return {"form": form, **(values or {})}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.cv is not None) != (self.form == "gamma"):
            raise ValueError("cv: belongs to gamma, which needs it")
        if (self.file is not None) != (self.form == "series"):
            raise ValueError("file: belongs to series, which needs it")
        if self.form != "series" and (self.rate_scale != 1 or self.time_scale != 1):
            raise ValueError(f"{'time_scale' if self.rate_scale == 1 else 'rate_scale'}: belongs to series")
        return self


class Workload(Section):
    """A validated workload."""

    name: Annotated[str, Field(min_length=1, max_length=60), AfterValidator(printable)] = "workload"
    question: Annotated[str, Field(max_length=300), AfterValidator(printable)] = ""
    """what a run with it answers"""
    kinds: tuple[UserKind, ...]
    arrivals: Arrivals = Arrivals()
    trace: TraceLoad | None = None
    """recorded requests that are replayed, by the only kind"""

    @model_validator(mode="before")
    @classmethod
    def _of_a_trace(cls, raw: Any) -> Any:
        """Complete a workload that says no more than which trace is replayed."""
        if not isinstance(raw, dict) or raw.get("trace") is None:
            return raw
        return {"kinds": [{"name": "trace"}], "arrivals": "trace", **raw}

    @field_validator("kinds", mode="before")
    @classmethod
    def _as_tuple(cls, raw: Any) -> Any:
        if not isinstance(raw, list | tuple):
            raise ValueError(": must be a list of kinds of user")  # noqa: TRY004 -- as everywhere
        if not 1 <= len(raw) <= MAX_KINDS:
            raise ValueError(f": {len(raw)} kinds: must be 1 to {MAX_KINDS}")
        return tuple(raw)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [kind.name for kind in self.kinds]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"kinds: {name!r}: is the name of two kinds")
        return self

    @model_validator(mode="after")
    def _hosts_fit_together(self) -> Self:
        if not self.has_hosts:
            return self
        first = self.kinds[0]
        if len(self.kinds) == 1:
            raise ValueError(f"kinds: {first.name}.host: a run of one server names it with --host")
        hosts, folders = [kind.host for kind in self.kinds], [folder_of(kind.name).lower() for kind in self.kinds]
        for kind in self.kinds:
            if kind.host is None:
                raise ValueError(f"kinds: {kind.name}.host: is missing; either every kind has one, or none has")
            if hosts.count(kind.host) > 1:
                raise ValueError(f"kinds: {kind.name}.host: {kind.host}: is the host of two kinds")
            if folders.count(folder_of(kind.name).lower()) > 1:  # on many file systems, one folder
                raise ValueError(f"kinds: {kind.name!r}: two kinds would have the folder {folder_of(kind.name)}")
            for key in ("share", "users"):
                if key in kind.model_fields_set:
                    raise ValueError(f"kinds: {kind.name}.{key}: has no effect, as every host gets every request")
            if kind.slo != first.slo:
                raise ValueError(f"kinds: {kind.name}.slo: must be the same for all hosts")
        return self

    @model_validator(mode="after")
    def _agents_wait(self) -> Self:
        agent = next((kind.name for kind in self.kinds if kind.agent is not None), None)
        if agent is not None and self.arrivals.form != "users":
            raise ValueError(
                f"arrivals: {self.arrivals.form!r}: the kind {agent} is an agent, which waits for its replies"
            )
        if agent is not None and self.trace is not None:
            raise ValueError(f"kinds: {agent}.agent: has no effect, as the trace says what is asked")
        return self

    @model_validator(mode="after")
    def _fits_the_trace(self) -> Self:
        if self.trace is None:
            if self.arrivals.form == "trace":
                raise ValueError("arrivals: 'trace': needs the key trace, with the file")
            return self
        if self.arrivals.form not in ("trace", "users"):
            raise ValueError(f"arrivals: {self.arrivals.form!r}: with a trace, must be `trace` (its times) or `users`")
        if self.arrivals.form == "users" and self.trace.speed != (1.0,):
            raise ValueError("trace.speed: belongs to `arrivals: trace`; users ask when they have their answer")
        if len(self.kinds) > 1:
            raise ValueError(f"kinds: {len(self.kinds)} kinds: a trace is replayed by a single one")
        given = [key for key in _STATED_BY_TRACE if key in self.kinds[0].model_fields_set]
        if self.arrivals.form == "trace":
            given += [key for key in ("think_time", "users") if key in self.kinds[0].model_fields_set]
        if given:
            raise ValueError(f"kinds: {self.kinds[0].name}.{given[0]}: has no effect, as the trace says it")
        return self

    @property
    def has_hosts(self) -> bool:
        """Whether each kind names its own server, and every request of the stream goes to all of them."""
        return any(kind.host is not None for kind in self.kinds)

    def of_kind(self, kind: UserKind) -> "Workload":
        """Return the workload of one kind alone."""
        return self.model_copy(update={"kinds": (kind,)})

    @property
    def fixed_users(self) -> int:
        """Users of the kinds with a fixed number."""
        return sum(kind.users or 0 for kind in self.kinds)

    @property
    def shares(self) -> dict[str, float | None]:
        """Share of each kind among the users without a fixed number; None: its number is fixed."""
        weights = {kind.name: kind.share or 1.0 for kind in self.kinds if kind.users is None}
        total = sum(weights.values())
        return {kind.name: weights[kind.name] / total if kind.name in weights else None for kind in self.kinds}

    def to_message(self) -> dict[str, Any]:
        """Return the whole workload as plain types, from which `of_message` makes it again on a worker."""
        arrivals = self.arrivals.model_dump(mode="json")  # its default depends on whether there is a trace
        return {**self.model_dump(mode="json", exclude_defaults=True), "arrivals": arrivals}

    @classmethod
    def of_message(cls, message: dict[str, Any]) -> "Workload":
        """Return the workload that `to_message` has packed. ValueError if it is invalid."""
        return cls.model_validate(message)

    def to_manifest(self, file: str | None = None, profile: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what `run.json` records: profiles in full, distributions with their mean, no prompt text.

        `profile`: the run's own, for kinds that name none.
        """
        return {
            "name": self.name,
            "file": file,
            "question": self.question,
            "kinds": [_kind_of_manifest(kind, self.shares[kind.name], profile) for kind in self.kinds],
            "arrivals": {"form": self.arrivals.form, **self.arrivals.model_dump(mode="json", exclude_defaults=True)},
            "trace": None if self.trace is None else self.trace.model_dump(mode="json"),
        }


def folder_of(kind: str) -> str:
    """Return the name of the folder that a run has for the server of a kind of user."""
    return kind.replace(" ", "-")


def _kind_of_manifest(kind: UserKind, share: float | None, profile: dict[str, Any] | None) -> dict[str, Any]:
    prompts, system = kind.prompts, kind.system_prompt
    return {
        "name": kind.name,
        "host": kind.host,
        "share": share,
        "users": kind.users,
        "slo": kind.slo.model_dump(mode="json") if kind.slo else profile,
        "prompts": None
        if prompts is None
        else {"tokens": _counts(prompts.tokens), "file": prompts.file, "field": prompts.field},
        "system_prompt": None if system is None else _system_of_manifest(system),
        "shared_prefix_tokens": kind.shared_prefix_tokens,
        "turns": _counts(kind.turns),
        "think_time": {**_form(kind.think_time), "mean": kind.think_time.average},
        "output_tokens": _counts(kind.output_tokens),
        "stream": kind.stream,
        "api": kind.api,
        "models": kind.model.names if kind.model else None,
        "body": kind.body,
        "agent": None if kind.agent is None else kind.agent.model_dump(mode="json"),
    }


def _system_of_manifest(system: SystemPrompt) -> dict[str, Any]:
    if system.text is None:
        return {"tokens": system.tokens}
    digest = hashlib.sha256(system.text.encode()).hexdigest()
    return {"characters": len(system.text), "sha256": digest}


def _counts(distribution: Distribution | None) -> dict[str, Any] | None:
    return None if distribution is None else {**_form(distribution), "mean": distribution.average_count}


def _form(distribution: Distribution) -> dict[str, Any]:
    return {"form": distribution.name, distribution.name: distribution.parameters()}


def workload_names() -> list[str]:
    """Return the sorted names of the workloads that come with the package."""
    return yaml_names(folder("configs") / "workloads")


def read_workload(name_or_file: str) -> Workload:
    """Load a workload by its name in `configs/workloads`, or from a file; a trace is one that replays it as recorded.

    SettingsError, one line with file, key and value, if it is missing or invalid.
    """
    label = f"--workload {name_or_file}"
    file = Path(name_or_file)
    if name_or_file.endswith(_TRACE_FILES) or is_recording(file):
        return parse_workload(
            {"name": file.name.partition(".")[0] or "trace", "trace": {"file": file.name}}, label, file.parent
        )
    path = find_yaml(name_or_file, folder("configs") / "workloads", label, "workload")
    raw = read_mapping(path, label, _MAX_FILE_BYTES, aliases=False)
    return parse_workload({"name": path.stem, **raw}, str(path), path.parent)


def parse_workload(raw: Mapping[str, Any], label: str, files: Path) -> Workload:
    """Return the workload that keys and values as in a file describe; `files`: what names of files are relative to.

    SettingsError, one line that begins with `label`, if it is invalid.
    """
    try:
        return Workload.model_validate(dict(raw), context={"folder": str(files)})
    except ValidationError as error:
        text = first_error(error, _known_keys, lambda location: _shown(location, raw))
        raise SettingsError(f"{label}: {text}") from error
    except (RecursionError, TypeError) as error:  # keys that are not text
        raise SettingsError(f"{label}: {_ALIASED}") from error


def _shown(location: Location, raw: Mapping[str, Any]) -> str:
    """Return a key with the kind's name instead of its number."""
    parts = list(map(str, location))
    if len(location) > 1 and location[0] == "kinds" and isinstance(location[1], int):
        kind = raw["kinds"][location[1]]
        named = isinstance(kind, dict) and isinstance(kind.get("name"), str)
        parts[1] = printable(kind["name"][:40]) if named else str(location[1] + 1)
    return ".".join(parts)


_SECTIONS: dict[str, type[BaseModel]] = {
    "kinds": UserKind,
    "arrivals": Arrivals,
    "trace": TraceLoad,
    "agent": Agent,
    "compact": Compaction,
    "subagents": Subagents,
    "prompts": PromptSource,
    "system_prompt": SystemPrompt,
    "model": ModelChoice,
}


def _known_keys(location: Location) -> Sequence[str]:
    """Return the valid keys of the section at a location."""
    named = [key for key in location if isinstance(key, str)]
    keys = list((_SECTIONS[named[-1]] if named else Workload).model_fields)
    return [*keys, "file"] if named[-1:] == ["system_prompt"] else keys
