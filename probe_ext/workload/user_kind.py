"""One kind of user: what it asks, how it pauses, how long its replies are, and which profile judges them."""

import json
import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    InstanceOf,
    ValidationInfo,
    field_validator,
    model_validator,
)

from probe_ext.bundled import folder
from probe_ext.client.wire.address import parse_target
from probe_ext.load.level_plan import MAX_USERS
from probe_ext.measure.safe_text import printable
from probe_ext.measure.table_rows import COLD, WARM, WARM_UP
from probe_ext.settings.errors import SettingsError
from probe_ext.settings.request_extras import secret_field
from probe_ext.settings.slo import SloProfile, load_profile
from probe_ext.settings.small_file import read_small_file
from probe_ext.settings.yaml_values import is_path
from probe_ext.workload.agent_kind import Agent
from probe_ext.workload.distribution_forms import MAX_VALUE, MIN_VALUE, Constant
from probe_ext.workload.section import MAX_TOKENS, FilePath, Pause, Section, Tokens, Turns, files_folder

MAX_TEXT_BYTES = 1024 * 1024
KIND_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")
_RESERVED_NAMES = (COLD, WARM, WARM_UP)
_KEY_OF_FIELD = {
    "model": "`model`",
    "stream": "`stream`",
    "stream_options": "--usage",
    "max_tokens": "`output_tokens`",
    "max_completion_tokens": "`output_tokens`",
    "max_output_tokens": "`output_tokens`",
    "ignore_eos": "--ignore-eos",
    "messages": "`prompts`",
    "prompt": "`prompts`",
    "input": "`prompts`",
    "system": "`system_prompt`",
}


class PromptSource(Section):
    """What the user writes in each turn: synthetic text of a length, or prompts from a file."""

    tokens: Tokens | None = None
    """length of each of the user's messages; system prompt, shared prefix and earlier turns come on top"""
    file: FilePath | None = None
    """prompts to send instead of synthetic ones; `tokens` is then the mean length that they should have"""
    field: str | None = Field(default=None, min_length=1)
    """column or key of the file that holds the prompt"""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.tokens is None and self.file is None:
            raise ValueError(": must have tokens, or file")
        if self.field is not None and self.file is None:
            raise ValueError(f"field: {self.field!r}: belongs to file, which is missing")
        return self


class SystemPrompt(Section):
    """The message of role `system` that begins every conversation, the same for all users of the kind."""

    tokens: int | None = Field(default=None, ge=1, le=MAX_TOKENS)
    text: str | None = Field(default=None, min_length=1, max_length=MAX_TEXT_BYTES)

    @model_validator(mode="before")
    @classmethod
    def _read_file(cls, raw: Any, info: ValidationInfo) -> Any:
        if not isinstance(raw, dict) or "file" not in raw or len(raw) != 1:
            return raw
        if not isinstance(raw["file"], str):
            raise ValueError(f"file: {raw['file']!r}: must be the name of a file")  # noqa: TRY004 -- pydantic reports ValueErrors
        path = files_folder(info) / raw["file"]
        try:
            return {"text": read_small_file(path, MAX_TEXT_BYTES).strip()}
        except ValueError as error:
            raise ValueError(f"file: {path}: {error}") from error

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.tokens is None) == (self.text is None):
            raise ValueError(": must have one of tokens, text and file")
        return self


class ModelChoice(Section):
    """Which model or LoRA adapter a conversation uses, by shares that add up to 1."""

    names: dict[str, float]

    @model_validator(mode="before")
    @classmethod
    def _read(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            return {"names": {raw: 1.0}}
        if isinstance(raw, dict) and raw.keys() == {"zipf"}:
            return {"names": _zipf(raw["zipf"])}
        if not isinstance(raw, dict) or raw.keys() != {"names"} or not isinstance(raw["names"], dict):
            raise ValueError(": must be a name, {names: {NAME: SHARE, …}} or {zipf: {names: [NAME, …], s: NUMBER}}")
        return raw

    @field_validator("names", mode="before")
    @classmethod
    def _as_shares(cls, names: Any) -> Any:
        for name, share in names.items():
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f": {name!r}: must be the name of a model")
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= MAX_VALUE:
                raise ValueError(f"{name}: {share!r}: must be a share greater than 0, of at most {MAX_VALUE:.0e}")
        if not names:
            raise ValueError(": must name a model")
        total = math.fsum(names.values())
        return {name: share / total for name, share in names.items()}


def _zipf(raw: Any) -> dict[str, float]:
    """Return the weights of names in the order of their popularity: 1, 1/2^s, 1/3^s, …"""
    if not isinstance(raw, dict) or not {"names"} <= raw.keys() <= {"names", "s"}:
        raise ValueError("zipf: must have names, and s if it is not 1")
    names, s = raw["names"], raw.get("s", 1.0)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError("zipf.names: must be a list of different names")
    if isinstance(s, bool) or not isinstance(s, int | float) or not 0 <= s <= 100:
        raise ValueError(f"zipf.s: {s!r}: must be a number from 0 to 100")
    return {name: max(rank**-s, 1e-300) for rank, name in enumerate(names, 1)}


def _check_body(body: dict[str, Any]) -> dict[str, Any]:
    for name in body:
        if name in _KEY_OF_FIELD:
            raise ValueError(f"{name}: is set by {_KEY_OF_FIELD[name]}, not by body")
    try:
        json.dumps(body, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f": cannot be sent as JSON: {error}") from error
    if secret := secret_field(body):
        raise ValueError(f"{secret}: carries a secret, which run.json would show; give it with --header-env")
    return body


class UserKind(Section):
    """Users who do the same kind of work."""

    name: str
    host: str | None = None
    """base URL of the server that this kind asks, for runs over several servers; None: --host"""
    share: float | None = Field(default=None, ge=MIN_VALUE, le=MAX_VALUE, allow_inf_nan=False)
    """of the users that are not fixed in number; all shares are scaled to add up to 1"""
    users: int | None = Field(default=None, ge=1, le=MAX_USERS)
    """a fixed number of users, whatever the level"""
    slo: InstanceOf[SloProfile] | None = None
    """profile that judges this kind; None: the run's"""
    prompts: PromptSource | None = None
    """None: synthetic, of --input-tokens"""
    system_prompt: SystemPrompt | None = None
    shared_prefix_tokens: int = Field(default=0, ge=0, le=MAX_TOKENS)
    """text that begins the first message of all conversations of the kind"""
    turns: Turns = Constant(1)
    """questions of a conversation; each repeats all that was said before"""
    think_time: Pause = Constant(0)
    """seconds between a reply and the same user's next request"""
    output_tokens: Tokens | None = None
    """upper bound of a reply's length; None: --max-tokens"""
    stream: float | None = Field(default=None, ge=0, le=1)
    """share of requests whose replies are streamed; None: all, or with --no-stream none"""
    api: Literal["chat", "completion", "responses", "messages"] | None = None
    """None: --api"""
    model: ModelChoice | None = None
    """None: --model, or the server's"""
    body: Annotated[dict[str, Any], AfterValidator(_check_body)] = Field(default={})
    """further fields of each request's body"""
    agent: Agent | None = None
    """programs that call tools between their requests; None: people, or other clients"""

    @property
    def seed_name(self) -> str:
        """What draws and texts are made from, beside the seed: kinds that ask servers of their own ask alike."""
        return "" if self.host else self.name

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not KIND_NAME.fullmatch(name):
            raise ValueError(f": {name[:60]!r}: must be 1 to 40 letters, digits, spaces, dots, hyphens or underscores")
        if name in _RESERVED_NAMES:
            raise ValueError(f": {name!r}: has a meaning of its own in reports; choose another name")
        return name

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str | None) -> str | None:
        try:
            return None if host is None else parse_target(host).url
        except ValueError as error:
            text = str(error).removeprefix("--host").replace("--host ", "")
            raise ValueError(f":{text}" if text.startswith(" ") else text) from error

    @field_validator("slo", mode="before")
    @classmethod
    def _load_profile(cls, raw: Any, info: ValidationInfo) -> Any:
        if isinstance(raw, dict):  # the form of a run
            return SloProfile.model_validate(raw)
        if not isinstance(raw, str):
            return raw
        given = str(files_folder(info) / raw) if is_path(raw) else raw
        try:
            return load_profile(given, folder("configs") / "slo", f": {printable(raw)}")
        except SettingsError as error:
            text = str(error)
            raise ValueError(text if text.startswith(":") else f": {text}") from error

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.share is not None and self.users is not None:
            raise ValueError("users: cannot be given together with share")
        if self.api == "completion" and (self.system_prompt or self.turns != Constant(1)):
            raise ValueError("api: completion: takes no system_prompt and no turns, which need a chat")
        if self.agent is not None and self.api == "completion":
            raise ValueError("api: completion: takes no agent, whose sessions need a chat")
        if self.agent is not None and self.prompts is not None and self.prompts.file is not None:
            raise ValueError("prompts.file: cannot be given together with agent, whose texts are synthetic")
        return self
