"""A picture of the report page by itself, for notebooks and files."""

import html
from dataclasses import dataclass, replace
from pathlib import Path

from probe_ext.page.environment import environment, style
from probe_ext.report.outputs.render import TEMPLATES
from probe_ext.report.sections.page import Page

LEVELS, TIMELINE = "levels", "timeline"
_AROUND_LEVELS_PX, _AROUND_TIMELINE_PX, _AROUND_LANE_PX = 290, 150, 22
_MARGINS = "body{padding:8px 12px}section,h2{margin-top:0!important}"


@dataclass(frozen=True)
class Figure:
    """One picture; a notebook shows it, isolated from its own style sheet."""

    document: str
    """a whole HTML page without scripts or requests"""
    height: int
    """pixels that it needs on a page of usual width"""

    def save(self, path: str | Path) -> Path:
        """Write it as an HTML file. OSError if that fails."""
        Path(path).write_text(self.document, encoding="utf-8")
        return Path(path)

    def _repr_html_(self) -> str:
        frame = 'sandbox loading="lazy" style="width:100%;border:0"'
        return f'<iframe {frame} height="{self.height}" srcdoc="{html.escape(self.document)}"></iframe>'


def figures_of(page: Page) -> list[str]:
    """Return the names of the pictures that a page has: `levels`, `timeline`, and the lanes of the timeline."""
    lanes = [lane.term for lane in page.axis.lanes if lane.plot] if page.axis else []
    return [*([LEVELS] if page.results.rows else []), *([TIMELINE] if lanes else []), *dict.fromkeys(lanes)]


def figure(page: Page, name: str) -> Figure:
    """Draw a picture by name. KeyError, which lists the names, if the page has none of that name."""
    if name not in figures_of(page):
        raise KeyError(f"{name}: no picture of this run; choose from {', '.join(figures_of(page))}")
    if name == LEVELS:
        return Figure(_document(page, "levels_picture"), page.stack.plot.height + _AROUND_LEVELS_PX)
    if name != TIMELINE and page.axis:
        page = replace(page, axis=replace(page.axis, lanes=[lane for lane in page.axis.lanes if lane.term == name]))
    lanes = (
        sum((lane.plot.height if lane.plot else 0) + _AROUND_LANE_PX for lane in page.axis.lanes) if page.axis else 0
    )
    return Figure(_document(page, "timeline_picture"), _AROUND_TIMELINE_PX + lanes)


def _document(page: Page, block: str) -> str:
    """Render one block of the page's template with what it needs around it."""
    templates = environment(TEMPLATES)
    template = templates.get_template("capacity.html.j2")
    context = {"page": page, "parts": templates.get_template("parts.html.j2").module}
    inside = "".join(
        text for name in ("patterns", block) for text in template.blocks[name](template.new_context(context))
    )
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
    return f"{head}<style>{style()}{_MARGINS}</style><body>{inside}</body></html>"
