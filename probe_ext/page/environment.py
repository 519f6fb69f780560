"""The template environment of pages: everything is escaped, undefined names are errors, templates compute nothing."""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

_CODE = re.compile(r"`(?P<code>[^`]+)`|(?<![\w-])--[a-zA-Z][\w-]*")

_BASE, _STYLE = Path(__file__).with_name("base.css"), Path(__file__).with_name("style.css")


@cache
def environment(templates: Path) -> Environment:
    """Return the environment of a folder of templates."""
    made = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["inline_code"] = inline_code
    return made


def inline_code(text: object) -> Markup:
    """Return text as HTML with code in backticks as such; no line ends within an option such as `--max-num-seqs`."""
    return Markup(_CODE.sub(_as_code, str(escape(text))))  # noqa: S704 (escaped before)


def _as_code(found: re.Match[str]) -> str:
    code = found["code"]
    if code is None:
        return f'<span class="flag">{found[0]}</span>'
    return f"<code>{_CODE.sub(_as_code, code)}</code>"


@cache
def base_style() -> str:
    """Return what all pages share, the live page included: colours, type and helpers for screen readers."""
    return _BASE.read_text(encoding="utf-8")


@cache
def style() -> Markup:
    """Return the style sheet of static pages, to be placed in a `style` element."""
    return Markup(base_style() + _STYLE.read_text(encoding="utf-8"))  # noqa: S704 (our own files)
