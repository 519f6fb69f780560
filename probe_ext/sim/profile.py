"""Profiles: which model on which card, as the numbers the simulation runs on.

Built-in profiles are the YAML files in ``profiles/``, each number with its source beside it. A user's own file may
start from one of them with ``base: NAME`` and change some keys. A wrong file raises :class:`ProfileError` with one
line that names key, value and file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import yaml

BUILT_IN = Path(__file__).parent / "profiles"


class ProfileError(ValueError):
    """A profile that cannot be used; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A model on a card. Bytes, seconds, bytes/s, operations/s, tokens."""

    name: str
    model: str
    # The model: what the cache and the arithmetic follow from.
    layers: int
    kv_heads: int
    head_size: int
    hidden_size: int
    kv_element_bytes: float = 2.0
    active_parameters: float
    weight_bytes: float
    active_weight_share: float = 1.0
    # The card, as fast as the kernels make it.
    memory_bandwidth: float
    flops: float
    step_overhead_s: float
    sequence_overhead_s: float
    frontend_s: float
    # Memory for the cache: stated, or what is left of the card.
    gpu_memory_bytes: float
    gpu_memory_utilization: float = 0.9
    reserved_bytes: float = 0.0
    kv_pool_bytes: float | None = None
    # The scheduler, under vLLM's own names.
    block_size: int = 16
    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    chunked_prefill: bool = True
    scheduler_reserve_full_isl: bool = True
    prefix_caching: bool = True
    # What it answers, where the request leaves that open.
    reply_tokens_mean: float = 200.0
    reply_tokens_spread: float = 0.4
    # What the first request at a batch size costs when the server starts cold.
    warmup_s: float = 5.0

    @property
    def kv_bytes_per_token(self) -> float:
        """K and V of one token in all layers, in bytes."""
        return 2 * self.layers * self.kv_heads * self.head_size * self.kv_element_bytes

    @property
    def kv_bytes(self) -> float:
        """Memory for the cache, in bytes."""
        if self.kv_pool_bytes is not None:
            return self.kv_pool_bytes
        return self.gpu_memory_bytes * self.gpu_memory_utilization - self.weight_bytes - self.reserved_bytes

    @property
    def num_gpu_blocks(self) -> int:
        """Blocks of the cache, the null block among them, as vLLM reports them."""
        return int(self.kv_bytes // (self.block_size * self.kv_bytes_per_token))


def profile_names() -> list[str]:
    """Names of the built-in profiles."""
    return sorted(path.stem for path in BUILT_IN.glob("*.yaml"))


def load_profile(name_or_file: str) -> Profile:
    """A built-in profile by name, or a user's YAML file by path.

    Raises :class:`ProfileError`: unknown name, unreadable file, unknown or missing key, value of a wrong kind.
    """
    if name_or_file in profile_names():
        return _read(BUILT_IN / f"{name_or_file}.yaml")
    path = Path(name_or_file)
    if path.suffix not in {".yaml", ".yml"} and not path.is_file():
        raise ProfileError(f"profile: {name_or_file!r} is neither a file nor one of {', '.join(profile_names())}")
    return _read(path)


def _read(path: Path) -> Profile:
    values = _values(path)
    values.setdefault("name", path.stem)
    types = get_type_hints(Profile)
    checked: dict[str, Any] = {key: _checked(key, value, types, path) for key, value in values.items()}
    missing = [f.name for f in fields(Profile) if f.name not in checked and f.name in _required()]
    if missing:
        raise ProfileError(f"{missing[0]}: missing in {path}")
    profile = Profile(**checked)
    _check_whole(profile, path)
    return profile


def _required() -> set[str]:
    defaults = Profile.__init__.__kwdefaults__ or {}
    return {f.name for f in fields(Profile)} - set(defaults)


def _values(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(f"profile: cannot read {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ProfileError(f"profile: {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(loaded, Mapping):
        raise ProfileError(f"profile: {path} holds no keys")
    values = {str(key): value for key, value in loaded.items()}
    base = values.pop("base", None)
    if base is None:
        return values
    if base not in profile_names():
        raise ProfileError(f"base: {base!r} in {path} is none of {', '.join(profile_names())}")
    return {**_values(BUILT_IN / f"{base}.yaml"), "name": path.stem, **values}


def _checked(key: str, value: object, types: Mapping[str, Any], path: Path) -> object:
    if key not in types:
        raise ProfileError(f"{key}: unknown key (value {value!r}) in {path}")
    wanted = types[key]
    if wanted is float or wanted == (float | None):
        return _number(key, value, path)
    if type(value) is not wanted:
        raise ProfileError(f"{key}: {value!r} in {path} is no {wanted.__name__}")
    return value


def _number(key: str, value: object, path: Path) -> float:
    # YAML 1.1 reads 6.9e9 as text (it wants e+9), so text that is a number passes.
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ProfileError(f"{key}: {value!r} in {path} is no number")
    try:
        return float(value)
    except ValueError:
        raise ProfileError(f"{key}: {value!r} in {path} is no number") from None


def _check_whole(profile: Profile, path: Path) -> None:
    for f in fields(Profile):
        value = getattr(profile, f.name)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value < float("inf"):
            raise ProfileError(f"{f.name}: {value!r} in {path} must be at least 0 and finite")
    for key in ("block_size", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "memory_bandwidth", "flops",
                "layers", "kv_heads", "head_size", "kv_element_bytes", "reply_tokens_mean"):  # fmt: skip
        if getattr(profile, key) <= 0:
            raise ProfileError(f"{key}: {getattr(profile, key)!r} in {path} must be above 0")
    if not 0 < profile.active_weight_share <= 1:
        raise ProfileError(f"active_weight_share: {profile.active_weight_share!r} in {path} must be in (0, 1]")
    room = (profile.num_gpu_blocks - 1) * profile.block_size
    if room < profile.max_model_len:
        # vLLM refuses to start as well: one request of full length has to fit.
        raise ProfileError(
            f"max_model_len: {profile.max_model_len} in {path} needs more than the {room} tokens of cache"
        )
