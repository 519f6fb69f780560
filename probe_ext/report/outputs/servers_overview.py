"""The overview of a run over several servers: the answer of each, with its page. No verdict is of several servers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe_ext.page.environment import environment, style
from probe_ext.report.outputs.render import TEMPLATES
from probe_ext.report.outputs.summary_and_junit import markdown
from probe_ext.report.sections.page import Badge, badge
from probe_ext.report.wording.level_names import by_number, label, merged_visits
from probe_ext.report.wording.percentiles import figure, share_text
from probe_ext.run import directory
from probe_ext.run.manifest import replace_text
from probe_ext.verdict.phrasing import formats

FIGURES = ("requests/s", "served", "broken", "TTFT p50", "TTFT p95", "total tok/s")


@dataclass(frozen=True)
class ServerRow:
    """One server of the run."""

    name: str
    """of the kind of user that asked it"""
    host: str
    capacity: Mapping[str, Any]
    """as in its `capacity.json`"""
    gates: Sequence[str]
    """a sentence for each"""
    page: Path
    """relative to the run"""

    @property
    def sentence(self) -> str:
        """Its answer."""
        return str(self.capacity["sentence"])

    @property
    def badge(self) -> Badge:
        """Whether its part of the run is valid."""
        return badge(self.capacity["verdict"])

    @property
    def figures(self) -> list[str]:
        """The figures of its highest rate, in the order of FIGURES; a dash for what is not known of all its visits."""
        if not self.capacity["levels"]:
            return [formats.DASH] * len(FIGURES)
        visits = by_number(self.capacity["levels"])[-1]
        level = merged_visits(visits)
        shares = [share_text(level, grade, level[f"{grade}_share"]) for grade in ("served", "broken")]
        if len(visits) > 1:
            return [label(level), *shares, *[formats.DASH] * 3]
        waits = [formats.seconds(figure(level, name)) for name in ("ttft_p50", "ttft_p95")]
        return [label(level), *shares, *waits, formats.rate(level["total_tokens_per_s"])]

    @property
    def link(self) -> str:
        """Its page, for a browser."""
        return self.page.as_posix()


def write(run: Path, rows: Sequence[ServerRow]) -> Path:
    """Write the overview as a page, as Markdown and as JSON; return the page. OSError if that fails."""
    title = f"{len(rows)} servers, each judged by itself"
    listed = [
        {
            "name": row.name,
            "host": row.host,
            "verdict": row.capacity["verdict"],
            "sentence": row.sentence,
            "gates": list(row.gates),
            "run": row.page.parent.as_posix(),
        }
        for row in rows
    ]
    replace_text(run / directory.SERVERS_JSON, json.dumps({"servers": listed}, indent=1, ensure_ascii=False) + "\n")
    lines = [f"### {title}", ""]
    lines += [f"- **{markdown(row.name)}**: {markdown(' '.join((row.sentence, *row.gates)))}" for row in rows]
    replace_text(run / directory.SUMMARY, "\n".join(lines) + "\n")
    page = run / directory.CAPACITY_HTML
    template = environment(TEMPLATES).get_template("servers.html.j2")
    replace_text(page, template.render(title=title, heads=FIGURES, rows=rows, style=style()))
    return page
