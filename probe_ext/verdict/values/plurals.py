"""How people, things and dimensions are said in plain words."""

from collections.abc import Sequence

CAUSES = {
    "first_word": "the wait for the first word",
    "typing": "typing speed",
    "silence": "silent pauses",
    "answer": "failed or late answers",
}


def cause(dimension: str | None) -> str:
    """What broke, in plain words."""
    return CAUSES.get(dimension or "", "several things together")


def people(n: int) -> str:
    """`1 person`, `8 people`."""
    return f"{n} person" if n == 1 else f"{n:,} people"


def feel(n: int) -> str:
    """`1 person feels served`, `8 people at once feel served`."""
    return "1 person feels served" if n == 1 else f"{n:,} people at once feel served"


def things(n: int, one: str, many: str = "") -> str:
    """`1 reply`, `3 replies`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def listed(words: Sequence[str], most: int = 4) -> str:
    """`a, b and c`; of many, the first few and how many more."""
    shown = list(words[:most])
    if len(words) > most:
        return f"{', '.join(shown)} and {len(words) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
