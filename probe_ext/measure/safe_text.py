"""Make text from servers, workers and files short and printable before it reaches a row, a log or a page."""

from collections.abc import Collection
from typing import Any

MAX_MESSAGE_LENGTH = 200
Secrets = str | Collection[str] | None


def safe_text(text: str, secret: Secrets = None, *, length: int = MAX_MESSAGE_LENGTH) -> str:
    """Return one line of at most `length` characters, without control characters, the API key or other secrets."""
    for hidden in [secret] if isinstance(secret, str) else sorted(secret or (), key=len, reverse=True):
        if hidden:
            text = text.replace(hidden, "***")
    line = " ".join(printable(text[: 20 * length]).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def printable(text: str) -> str:
    """Replace control characters by spaces, and those that change the direction of writing."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def all_printable(value: Any) -> Any:
    """Return plain types with every text in them printable."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [all_printable(item) for item in value]
    if isinstance(value, dict):
        return {printable(str(key)): all_printable(item) for key, item in value.items()}
    return value
