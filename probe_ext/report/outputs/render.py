"""Render the view model into one self-contained file. Text from servers and users is escaped.

As a second line of defence, the page's content security policy allows only this one script, by its checksum, and no
requests at all.
"""

import base64
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from markupsafe import Markup

from probe_ext.page.environment import environment, style
from probe_ext.report.sections.page import Page
from probe_ext.report.sections.time_axis import TimeAxis

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("tips.js", "levels.js", "time.js", "keep.js")
"""Tooltips, charts by level, timeline, copying and saving."""


def html(page: Page) -> str:
    """Return the page. The same view model gives the same bytes."""
    script = "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment(TEMPLATES)
        .get_template("capacity.html.j2")
        .render(
            page=page,
            style=style(),
            script=Markup(script),  # noqa: S704 (our own file)
            script_hash=f"sha256-{digest}",
            series=_json(page.axis) if page.axis else "",
        )
    )


def _json(axis: TimeAxis) -> Markup:
    """Return the values of the lanes as JSON that is safe inside a script element."""
    lanes = [[asdict(series) for series in lane.series] for lane in axis.lanes if lane.plot]
    levels = [{"name": s.name, "from": s.start, "to": s.end} for s in axis.stretches]
    text = json.dumps({"end": axis.seconds, "levels": levels, "lanes": lanes}, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace("&", "\\u0026"))  # noqa: S704 (escaped on this line)
