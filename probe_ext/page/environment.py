"""The template environment of pages: everything is escaped, undefined names are errors, templates compute nothing."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

STYLE = Path(__file__).with_name("style.css")


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
def style() -> Markup:
    """Return the style sheet, to be placed in a `style` element."""
    return Markup(STYLE.read_text(encoding="utf-8"))  # noqa: S704 (our own file)
