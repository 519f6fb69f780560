"""Headers and body fields that a gateway wants besides ours: read and checked, so that none carries a secret."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

MAX_BODY_BYTES = 1024 * 1024

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_WORDS = re.compile(
    r"auth|cookie|token|secret|passw|passwd|credential|session|signature|bearer|jwt|(?:^|[-_])(?:api)?key(?:$|[-_])"
    r"|apikey|(?:^|[-_])sig(?:$|[-_])"
)
_SECRET_VALUE = re.compile(r"(?:bearer|basic|token)\s+\S|sk-\S{8}|eyJ[\w-]{8}|hf_\w{8}|AIza\w{8}|gh[pousr]_\w{8}", re.I)
_SET_BY_CLIENT = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect"),
        *("keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    }
)
_OPTION_OF_FIELD = {
    "model": "--model",
    "stream": "--no-stream",
    "stream_options": "--usage",
    "max_tokens": "--max-tokens",
    "max_completion_tokens": "--max-tokens",
    "max_output_tokens": "--max-tokens",
    "temperature": "--temperature",
    "top_p": "--top-p",
    "ignore_eos": "--ignore-eos",
    "messages": "a locustfile",
    "prompt": "a locustfile",
    "input": "a locustfile",
    "system": "a locustfile",
}
_SECRET_FIELDS = frozenset(
    {
        *("api_key", "apikey", "authorization", "access_token", "auth_token", "bearer_token", "client_secret"),
        *("credentials", "password", "secret", "token"),
    }
)


class HiddenValueError(ValueError):
    """An invalid value that must not be repeated in a message, since it may hold a secret."""


def entries(text: str) -> list[str]:
    """Return the entries of an option that may be given several times: one a line, or a JSON list of strings."""
    text = text.strip()
    if not text.startswith("["):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HiddenValueError("is not a valid JSON list") from error
    if not all(isinstance(entry, str) for entry in listed):
        raise HiddenValueError("must be a JSON list of strings")
    return [line for entry in listed for line in entries(entry)]


def headers(text: str) -> tuple[str, ...]:
    """Read `NAME: VALUE` entries. HiddenValueError for names that carry secrets or that the client sets itself."""
    read: dict[str, str] = {}
    for entry in entries(text):
        name, colon, value = (part.strip() for part in entry.partition(":"))
        if not colon or not _NAME.fullmatch(name):
            raise HiddenValueError("is not NAME:VALUE with a valid header name (e.g. X-Tenant:blue)")
        _check_name(name, "--header")
        if _SECRET_WORDS.search(name.lower()) or _SECRET_VALUE.match(value):
            raise HiddenValueError(
                f"{name}: carries a secret, which process lists and run.json would show; "
                f"put it into an environment variable and give --header-env {name}=VARIABLE"
            )
        if not (value.isascii() and value.isprintable()):
            raise HiddenValueError(f"{name}: its value contains characters that are not allowed in an HTTP header")
        _add(read, name, f"{name}: {value}")
    return tuple(read.values())


def header_variables(text: str) -> tuple[str, ...]:
    """Read `NAME=VARIABLE` entries: a header, and the environment variable that holds its value."""
    read: dict[str, str] = {}
    for entry in entries(text):
        name, _, variable = (part.strip() for part in entry.partition("="))
        if not (_NAME.fullmatch(name) and _VARIABLE.fullmatch(variable)):
            raise HiddenValueError(
                "is not NAME=VARIABLE, a header's name and the environment variable that holds its value "
                "(e.g. X-Api-Key=GATEWAY_KEY)"
            )
        _check_name(name, "--header-env")
        _add(read, name, f"{name}={variable}")
    return tuple(read.values())


def _check_name(name: str, option: str) -> None:
    if name.lower() in _SET_BY_CLIENT:
        raise HiddenValueError(f"{name}: is set by the client itself and cannot be given with {option}")


def _add(read: dict[str, str], name: str, entry: str) -> None:
    if name.lower() in read:
        raise HiddenValueError(f"{name}: is given twice")
    read[name.lower()] = entry


def header_pairs(given: Iterable[str]) -> dict[str, str]:
    """Return name and value of entries that `headers` has read."""
    pairs = (entry.partition(":") for entry in given)
    return {name: value.strip() for name, _, value in pairs}


def variable_pairs(given: Iterable[str]) -> dict[str, str]:
    """Return name and variable of entries that `header_variables` has read."""
    pairs = (entry.partition("=") for entry in given)
    return {name: variable for name, _, variable in pairs}


def body_fields(text: str) -> str | None:
    """Read a JSON object, or the file that holds one; return it as compact JSON, None if there is none.

    HiddenValueError for anything else, for fields that an option sets, and for those that carry secrets.
    """
    text = text.strip()
    if not text:
        return None
    source = "" if text.startswith(("{", "[", '"')) else f"{text}: "
    fields = _load(_file_content(text) if source else text, source)
    for name in fields:
        if option := _OPTION_OF_FIELD.get(name):
            raise HiddenValueError(f"{source}`{name}`: is set by {option}, not by --body")
    if secret := secret_field(fields):
        raise HiddenValueError(
            f"{source}`{secret}`: carries a secret, which run.json would show; gateways take it as a header: "
            "give --header-env"
        )
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def _file_content(name: str) -> str:
    path = Path(name)
    try:
        if not path.is_file():
            raise HiddenValueError(f"{name}: is neither a JSON object nor a file (e.g. '{{\"top_k\": 1}}')")
        if path.stat().st_size > MAX_BODY_BYTES:
            _too_large(f"{name}: ")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise HiddenValueError(f"{name}: is not UTF-8 text") from error
    except OSError as error:
        raise HiddenValueError(f"{name}: {error.strerror or error}") from error


def _load(text: str, source: str) -> dict[str, Any]:
    if len(text.encode("utf-8", "replace")) > MAX_BODY_BYTES:
        _too_large(source)
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
        text.encode()
    except json.JSONDecodeError as error:
        raise HiddenValueError(f"{source}is not valid JSON: {error.msg} at character {error.pos + 1}") from error
    except (ValueError, RecursionError) as error:
        raise HiddenValueError(f"{source}is not valid JSON") from error
    if not isinstance(content, dict):
        raise HiddenValueError(f'{source}must be a JSON object (e.g. {{"top_k": 1}})')
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _too_large(source: str) -> NoReturn:
    raise HiddenValueError(f"{source}is larger than {MAX_BODY_BYTES:,} bytes")


def secret_field(value: object) -> str | None:
    """Return the name of a field that carries a secret, at any depth."""
    if isinstance(value, list):
        return next((name for item in value if (name := secret_field(item))), None)
    if not isinstance(value, dict):
        return None
    for name, inner in value.items():
        plain = name.lower().replace("-", "_")
        if (plain in _SECRET_FIELDS and isinstance(inner, str)) or (isinstance(inner, str) and _is_secret(inner)):
            return str(name)
        if found := secret_field(inner):
            return found
    return None


def _is_secret(value: str) -> bool:
    return bool(_SECRET_VALUE.match(value))
