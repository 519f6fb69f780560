"""Fast parser for `/metrics` pages: only lines of the wanted metrics are parsed.

Format: Prometheus text exposition 0.0.4 and OpenMetrics 1.0 (`# EOF`, timestamps and exemplars are ignored). Colons in
names become underscores (`vllm:x` → `vllm_x`), as some scrapers do. A general parser blocks the event loop for about
10 ms per page; this takes a few tenths of a millisecond.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

MAX_PAGE_CHARACTERS = 32_000_000

MAX_SAMPLES = 50_000  # wanted ones; a thousand engines have fewer
_MAX_CHECKED_LINES = 1000

# Optional groups are not possessive: before Python 3.11.5, such a group loses the position if it fails midway.
_NAME = re.compile(r"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*+)")
_SAMPLE = re.compile(
    r"[ \t]*([a-zA-Z_:][a-zA-Z0-9_:]*+)[ \t]*+"  # name
    r'(?:\{((?:[^"}]++|"(?:[^"\\]|\\.)*+")*+)\})?[ \t]*+'  # labels; braces inside quotes are text
    r"([^\s#{}]++)(?:[ \t]++(-?[0-9.eE+]++))?"  # value, timestamp
    r"(?:[ \t]++#.*)?[ \t\r]*"  # exemplar
)
_LABEL = re.compile(r'\s*+([a-zA-Z_][a-zA-Z0-9_]*+)\s*+=\s*+"((?:[^"\\]|\\.)*+)"\s*+(?:,\s*+|\Z)', re.DOTALL)
_LOGIN = re.compile(
    r"type\s*=\s*[\"']?password|\b(log|sign)[ -]?in\b|saml|openid|oauth|\bsso\b|authenti|anmeld|connexion",
    re.IGNORECASE,
)
_RAY_PREFIX = "ray_"  # Ray Serve's, in front of the engine's own names, whose `_total` it may leave out
_ESCAPE = re.compile(r'\\([\\n"])')


@dataclass(frozen=True, slots=True)
class Sample:
    """A line of the page."""

    name: str
    """with `_` for `:`"""
    labels: Mapping[str, str]
    value: float
    """may be NaN or infinite"""


def matching(samples: Iterable[Sample], where: Sequence[tuple[str, str]]) -> Iterable[Sample]:
    """Return the samples whose labels match: name and regular expression of each."""
    if not where:
        return samples
    tests = [(label, re.compile(pattern)) for label, pattern in where]
    return [s for s in samples if all(pattern.fullmatch(s.labels.get(label, "")) for label, pattern in tests)]


@dataclass(frozen=True, slots=True)
class Page:
    """The wanted part of a valid page."""

    samples: tuple[Sample, ...]
    helps: Mapping[str, str]
    """HELP text of wanted metrics, by name"""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Not a metrics page, or a damaged one."""

    why: str


def parse(body: bytes | str, wanted: frozenset[str]) -> Page | Unreadable:
    """Return the samples whose name (with `_` for `:`) is wanted; Unreadable if the page is not valid."""
    text = _text(body)
    if isinstance(text, Unreadable):
        return text
    if other := _other_format(text):
        return Unreadable(f"not Prometheus text: {other}")
    lines = text.split("\n")
    if lines[-1].strip() not in ("", "# EOF"):
        cut = _looks_like_metrics(lines[:-1])
        return Unreadable("incomplete: the last line has no line end" if cut else "not Prometheus text")
    try:
        page = _parse_lines(lines, wanted)
    except ValueError as error:
        return Unreadable(f"not Prometheus text: {error}")
    too_many = len(page.samples) > MAX_SAMPLES
    if too_many or (not page.samples and not _looks_like_metrics(lines)):
        return Unreadable(f"more than {MAX_SAMPLES:,} samples of known metrics" if too_many else "not Prometheus text")
    return page


def _text(body: bytes | str) -> str | Unreadable:
    if len(body) > MAX_PAGE_CHARACTERS:
        return Unreadable(f"exceeds {MAX_PAGE_CHARACTERS} characters")
    if isinstance(body, bytes):
        try:
            body = body.decode("utf-8")
        except UnicodeDecodeError:
            return Unreadable("not Prometheus text: not UTF-8")
    body = body.removeprefix("\ufeff")
    return body if body.strip() else Unreadable("empty response")


def _parse_lines(lines: list[str], wanted: frozenset[str]) -> Page:
    samples = []
    helps = {}
    for line in lines:
        if line.startswith("#"):
            if line.startswith("# HELP "):
                name, _, help_text = line[7:].partition(" ")
                if plain := wanted_name(name, wanted):
                    helps[plain] = help_text.strip()
            continue
        match = _NAME.match(line)
        if match and (plain := wanted_name(match[1], wanted)):
            samples.append(replace(sample(line), name=plain))
            if len(samples) > MAX_SAMPLES:  # to read on would keep the master busy
                break
    return Page(tuple(samples), helps)


def wanted_name(name: str, wanted: frozenset[str]) -> str | None:
    """Return the engine's own name of a metric, with `_` for `:`; None if it is not wanted."""
    plain = name.replace(":", "_")
    if plain in wanted:
        return plain
    if not plain.startswith(_RAY_PREFIX):
        return None
    plain = plain.removeprefix(_RAY_PREFIX)
    return next((known for known in (plain, f"{plain}_total") if known in wanted), None)


def sample(line: str) -> Sample:
    """Parse a sample line. ValueError, with the beginning of the line, if it is invalid."""
    match = _SAMPLE.fullmatch(line)
    if not match:
        raise ValueError(f"line {line[:60]!r}")
    name, labels, value, _ = match.groups()
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
        match = _LABEL.match(text, at)
        if not match or match[1] in labels:
            if not text[at:].strip():
                break
            raise ValueError("labels")
        value = match[2]
        labels[match[1]] = _ESCAPE.sub(_unescaped, value) if "\\" in value else value
        at = match.end()
    return labels


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def _looks_like_metrics(lines: list[str]) -> bool:
    nonempty = [line for line in lines if line.strip()]
    if all(line.startswith("#") for line in nonempty):
        return any(line.startswith(("# TYPE", "# HELP", "# EOF")) for line in nonempty)
    return any(_is_sample(line) for line in nonempty[:_MAX_CHECKED_LINES] if not line.startswith("#"))


def _is_sample(line: str) -> bool:
    try:
        sample(line)
    except ValueError:
        return False
    return True


def _other_format(text: str) -> str:
    """Name what a page is that starts like HTML or JSON; empty for anything else."""
    start = text.lstrip()[:5].lower()
    if start == "<?xml" and "<html" not in text.lower():
        return "XML"
    if start.startswith("<"):
        return "a login page (HTML)" if _LOGIN.search(text) else "HTML"
    return "JSON" if start.startswith(("{", "[")) else ""
