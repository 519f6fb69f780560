"""Make text from servers short and printable before it reaches a row, a log or a page."""

MAX_MESSAGE_LENGTH = 200


def safe_text(text: str, secret: str | None = None, *, length: int = MAX_MESSAGE_LENGTH) -> str:
    """Return one line of at most `length` characters, without control characters or the API key."""
    if secret:
        text = text.replace(secret, "***")
    printable = "".join(c if c.isprintable() else " " for c in text[: 20 * length])
    line = " ".join(printable.split())
    return line if len(line) <= length else line[: length - 1] + "…"
