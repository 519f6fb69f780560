"""Profiles: a model on a card, as the numbers that the simulation needs.

Built-in profiles are the YAML files in ``profiles/``, which document the source of each number. A user's file may
extend one with ``base: NAME`` and override some keys. An invalid file raises :class:`ProfileError` with one line that
names key, value and file.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from probe_ext.closest_name import did_you_mean

BUILT_IN_DIR = Path(__file__).parent / "profiles"
_MAX_PROFILE_BYTES = 64 * 1024
_TYPE_NAMES = {int: "integer", bool: "boolean", str: "string"}


class ProfileError(ValueError):
    """An unknown or invalid profile; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model on a card. Units: bytes, seconds, bytes/s, operations/s, tokens."""

    name: str
    model: str
    # The model: determines cache size and arithmetic.
    layers: int
    kv_heads: int
    head_size: int
    hidden_size: int
    kv_element_bytes: float = 2.0
    active_parameters: float
    weight_bytes: float
    active_weight_share: float = 1.0
    # The card, at the rates its kernels reach.
    memory_bandwidth: float
    flops: float
    step_overhead_s: float
    sequence_overhead_s: float
    frontend_s: float
    # Memory for the KV cache: kv_pool_bytes, or else what the weights leave free.
    gpu_memory_bytes: float
    gpu_memory_utilization: float = 0.9
    reserved_bytes: float = 0.0
    kv_pool_bytes: float | None = None
    # The scheduler, with vLLM's names.
    block_size: int = 16
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    chunked_prefill: bool = True
    scheduler_reserve_full_isl: bool = True
    prefix_caching: bool = True
    # Length of a reply that stops by itself.
    reply_tokens_mean: float = 200.0
    reply_tokens_spread: float = 0.4
    # Extra time of the first step at each batch size, with the personality cold-start.
    warmup_s: float = 5.0
    # With the personality hot-gpu: how much warmer each watt makes the card, in °C.
    hot_celsius_per_watt: float = 0.55

    @property
    def kv_bytes_per_token(self) -> float:
        """Size of one token's K and V over all layers, in bytes."""
        return 2 * self.layers * self.kv_heads * self.head_size * self.kv_element_bytes

    @property
    def kv_bytes(self) -> float:
        """Memory for the KV cache, in bytes."""
        if self.kv_pool_bytes is not None:
            return self.kv_pool_bytes
        return self.gpu_memory_bytes * self.gpu_memory_utilization - self.weight_bytes - self.reserved_bytes

    @property
    def num_gpu_blocks(self) -> int:
        """Number of KV cache blocks, including the null block, as vLLM reports it."""
        return int(self.kv_bytes // (self.block_size * self.kv_bytes_per_token))


def profile_names() -> list[str]:
    """Return the names of the built-in profiles."""
    return sorted(path.stem for path in BUILT_IN_DIR.glob("*.yaml"))


def load_profile(name_or_file: str) -> Profile:
    """Load a built-in profile by name, or a YAML file by path.

    Raises :class:`ProfileError` for an unknown name, an unreadable file, an unknown or missing key, or an invalid
    value.
    """
    if name_or_file in profile_names():
        return _build(BUILT_IN_DIR / f"{name_or_file}.yaml")
    path = Path(name_or_file)
    if path.suffix not in {".yaml", ".yml"} and not path.is_file():
        closest = did_you_mean(name_or_file, profile_names())
        known = ", ".join(profile_names())
        raise ProfileError(f"profile: {name_or_file!r} is neither a file nor one of {known}{closest}")
    return _build(path)


def _build(path: Path) -> Profile:
    values = _read_keys(path)
    values.setdefault("name", path.stem)
    types = get_type_hints(Profile)
    parsed: dict[str, Any] = {key: _parse_value(key, value, types, path) for key, value in values.items()}
    missing = [f.name for f in fields(Profile) if f.name not in parsed and f.name in _required_keys()]
    if missing:
        raise ProfileError(f"{missing[0]}: missing in {path}")
    profile = Profile(**parsed)
    _validate(profile, path)
    return profile


def _required_keys() -> set[str]:
    defaults = Profile.__init__.__kwdefaults__ or {}
    return {f.name for f in fields(Profile)} - set(defaults)


def _read_keys(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_PROFILE_BYTES:
            raise ProfileError(f"profile: {path} is larger than {_MAX_PROFILE_BYTES // 1024} KiB")
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"profile: cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ProfileError(f"profile: {path} is not valid YAML: {' '.join(str(error).split())}") from error
    except (RecursionError, ValueError, TypeError) as error:  # nested too deeply, not UTF-8, impossible dates
        raise ProfileError(f"profile: {path} is not valid YAML: {type(error).__name__}") from error
    if not isinstance(loaded, Mapping):
        raise ProfileError(f"profile: {path} is not a YAML mapping")
    values = {str(key): value for key, value in loaded.items()}
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str) or base not in profile_names():
        raise ProfileError(f"base: {reprlib.repr(base)} in {path} is not one of {', '.join(profile_names())}")
    return {**_read_keys(BUILT_IN_DIR / f"{base}.yaml"), "name": path.stem, **values}


def _parse_value(key: str, value: object, types: Mapping[str, Any], path: Path) -> object:
    if key not in types:
        raise ProfileError(f"{key}: unknown key (value {reprlib.repr(value)}) in {path}")
    expected = types[key]
    if expected is float or expected == (float | None):
        return _parse_number(key, value, path)
    if type(value) is not expected:
        raise ProfileError(f"{key}: {reprlib.repr(value)} in {path} is not a valid {_TYPE_NAMES[expected]}")
    return value


def _parse_number(key: str, value: object, path: Path) -> float:
    # YAML 1.1 reads 6.9e9 as a string (it requires e+9), so numeric strings are accepted.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ProfileError(f"{key}: {reprlib.repr(value)} in {path} is not a number")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise ProfileError(f"{key}: {reprlib.repr(value)} in {path} is not a number") from None


def _validate(profile: Profile, path: Path) -> None:
    for f in fields(Profile):
        value = getattr(profile, f.name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value < float("inf"):
            raise ProfileError(f"{f.name}: {reprlib.repr(value)} in {path} must be finite and not negative")
    for key in ("block_size", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "memory_bandwidth", "flops",
                "layers", "kv_heads", "head_size", "kv_element_bytes", "reply_tokens_mean"):  # fmt: skip
        if getattr(profile, key) <= 0:
            raise ProfileError(f"{key}: {getattr(profile, key)!r} in {path} must be greater than 0")
    if not 0 < profile.active_weight_share <= 1:
        raise ProfileError(f"active_weight_share: {profile.active_weight_share!r} in {path} must be in (0, 1]")
    cache_tokens = (profile.num_gpu_blocks - 1) * profile.block_size
    if cache_tokens < profile.max_model_len:
        # vLLM refuses to start, too: one request of full length has to fit.
        raise ProfileError(
            f"max_model_len: {profile.max_model_len} in {path} exceeds the KV cache of {cache_tokens} tokens"
        )
