"""The text of a `/metrics` page into samples, cheaply: only lines of wanted metrics are parsed.

Format: Prometheus text exposition 0.0.4 and OpenMetrics 1.0 (`# EOF`, timestamps and exemplars are read over).
Names lose their colon (`vllm:x` becomes `vllm_x`), since some scrape paths rewrite it so. Parsing a whole page with a
general parser holds the event loop for about ten milliseconds; this takes a few tenths of one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

MAX_CHARACTERS = 32_000_000
"""a page longer than this is refused unread"""

# Optional groups are not possessive: Python before 3.11.5 loses its place where such a group fails in its middle.
_NAME = re.compile(r"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*+)")
_SAMPLE = re.compile(
    r"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*+)[ \t]*+"  # name
    r'(?:\{((?:[^"}]++|"(?:[^"\\]|\\.)*+")*+)\})?[ \t]*+'  # labels; a brace inside quotes is text
    r"([^\s#{}]++)(?:[ \t]++(-?[0-9.eE+]++))?"  # value, timestamp
    r"(?:[ \t]++#.*)?[ \t\r]*"  # exemplar
)
_LABEL = re.compile(r'\s*+([a-zA-Z_][a-zA-Z0-9_]*+)\s*+=\s*+"((?:[^"\\]|\\.)*+)"\s*+(?:,\s*+|\Z)', re.DOTALL)
_ESCAPE = re.compile(r'\\([\\n"])')


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of the page."""

    name: str
    """with `_` for `:`"""
    labels: Mapping[str, str]
    value: float
    """may be NaN or infinite"""


@dataclass(frozen=True, slots=True)
class Page:
    """What was wanted of a readable page."""

    samples: tuple[Sample, ...]
    helps: Mapping[str, str]
    """HELP text of wanted metrics, by name"""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The answer is no metrics page, or a damaged one."""

    why: str


def parse(body: bytes | str, wanted: frozenset[str]) -> Page | Unreadable:
    """The samples whose name (with `_` for `:`) is wanted; Unreadable says why there are none to be trusted."""
    text = _text(body)
    if isinstance(text, Unreadable):
        return text
    lines = text.split("\n")
    if lines[-1].strip() not in ("", "# EOF"):
        return Unreadable("cut off: the last line has no line end")
    try:
        page = _wanted_of(lines, wanted)
    except ValueError as error:
        return Unreadable(f"not Prometheus text: {error}")
    if not page.samples and not _looks_like_metrics(lines):
        return Unreadable(f"not Prometheus text{_nature(text)}")
    return page


def _text(body: bytes | str) -> str | Unreadable:
    if len(body) > MAX_CHARACTERS:
        return Unreadable(f"longer than {MAX_CHARACTERS} characters")
    if isinstance(body, bytes):
        try:
            body = body.decode("utf-8")
        except UnicodeDecodeError:
            return Unreadable("not Prometheus text: not UTF-8")
    return body if body.strip() else Unreadable("an empty answer")


def _wanted_of(lines: list[str], wanted: frozenset[str]) -> Page:
    samples = []
    helps = {}
    for line in lines:
        if line.startswith("#"):
            if line.startswith("# HELP "):
                name, _, told = line[7:].partition(" ")
                if (plain := name.replace(":", "_")) in wanted:
                    helps[plain] = told.strip()
            continue
        found = _NAME.match(line)
        if found and found[1].replace(":", "_") in wanted:
            samples.append(sample(line))
    return Page(tuple(samples), helps)


def sample(line: str) -> Sample:
    """One sample line. ValueError with the line's beginning when it is none."""
    found = _SAMPLE.fullmatch(line)
    if not found:
        raise ValueError(f"line {line[:60]!r}")
    name, labels, value, _ = found.groups()
    if "_" in value:
        raise ValueError(f"value {value[:30]!r}")
    try:
        return Sample(name.replace(":", "_"), _labels(labels or ""), float(value))
    except ValueError as error:
        raise ValueError(f"line {line[:60]!r}") from error


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = _LABEL.match(text, at)
        if not found or found[1] in labels:
            if not text[at:].strip():
                break
            raise ValueError("labels")
        value = found[2]
        labels[found[1]] = _ESCAPE.sub(_unescaped, value) if "\\" in value else value
        at = found.end()
    return labels


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


def _looks_like_metrics(lines: list[str]) -> bool:
    told = [line for line in lines if line.strip()]
    if all(line.startswith("#") for line in told):
        return any(line.startswith(("# TYPE", "# HELP", "# EOF")) for line in told)
    return any(_is_sample(line) for line in told[:1000] if not line.startswith("#"))


def _is_sample(line: str) -> bool:
    try:
        sample(line)
    except ValueError:
        return False
    return True


def _nature(text: str) -> str:
    start = text.lstrip()[:1]
    return {"<": ": HTML", "{": ": JSON", "[": ": JSON"}.get(start, "")
