"""Make what a server says short and printable, before it reaches a row, a log or a page."""

MESSAGE_LENGTH = 200


def safe_text(text: str, secret: str | None = None) -> str:
    """One line of at most MESSAGE_LENGTH characters, without control characters and without the API key."""
    if secret:
        text = text.replace(secret, "***")
    printable = "".join(c if c.isprintable() else " " for c in text[: 20 * MESSAGE_LENGTH])
    line = " ".join(printable.split())
    return line if len(line) <= MESSAGE_LENGTH else line[: MESSAGE_LENGTH - 1] + "…"
