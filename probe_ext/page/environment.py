"""The template environment of pages: everything is escaped, undefined names are errors, templates compute nothing."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_BASE, _STYLE = Path(__file__).with_name("base.css"), Path(__file__).with_name("style.css")


@cache
def environment(templates: Path) -> Environment:
    """Return the environment of a folder of templates."""
    return Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@cache
def base_style() -> str:
    """Return what all pages share, the live page included: colours, type and helpers for screen readers."""
    return _BASE.read_text(encoding="utf-8")


@cache
def style() -> Markup:
    """Return the style sheet of static pages, to be placed in a `style` element."""
    return Markup(base_style() + _STYLE.read_text(encoding="utf-8"))  # noqa: S704 (our own files)
