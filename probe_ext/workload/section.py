"""What the values under the keys of a workload have in common, and the types of those that are drawn."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationInfo,
)

from probe_ext.workload.distribution_forms import Distribution
from probe_ext.workload.read_distribution import Number, count_number, duration_number, read_distribution

MAX_TOKENS = 10_000_000
MAX_TURNS = 1000


def files_folder(info: ValidationInfo) -> Path:
    """Return the folder that file names are relative to: the workload file's, else the current one."""
    return Path((info.context or {}).get("folder", ""))


def _full_path(file: str, info: ValidationInfo) -> str:
    return str(files_folder(info) / file)


def _reader(number: Number, most: float) -> Any:
    def read(raw: Any, info: ValidationInfo) -> Distribution:
        distribution = read_distribution(raw, number, files_folder(info))
        if distribution.quantile(0.5) > most:
            raise ValueError(f": half of the values are above {most:,}")
        return distribution

    return BeforeValidator(read)


_AsYaml = PlainSerializer(lambda distribution: distribution.as_yaml())
FilePath = Annotated[str, Field(min_length=1), AfterValidator(_full_path)]
Tokens = Annotated[InstanceOf[Distribution], _reader(count_number, MAX_TOKENS), _AsYaml]
Turns = Annotated[InstanceOf[Distribution], _reader(count_number, MAX_TURNS), _AsYaml]
Pause = Annotated[InstanceOf[Distribution], _reader(duration_number, 7 * 24 * 3600), _AsYaml]


class Section(BaseModel):
    """Values under one key of a workload."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
