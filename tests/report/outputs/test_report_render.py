"""The page as a file: self-contained, escaped, the same bytes every time, and short enough to be sent."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hostile_run import hostile_run
from report_views import viewed

from probe_ext.page.environment import environment, inline_code
from probe_ext.report import report_command
from probe_ext.report.outputs import render, summary_and_junit


def test_same_run_gives_the_same_bytes(run: Path) -> None:
    first = (run / "capacity.html").read_bytes()
    report_command.build(run)
    assert (run / "capacity.html").read_bytes() == first


def test_nothing_is_fetched(whole_run: Path) -> None:
    html = (whole_run / "capacity.html").read_text(encoding="utf-8")
    assert re.findall(r"""(?:src|href|action|srcset)=["']?(?:https?:)?//""", html) == []
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    assert "default-src 'none'" in html


def test_policy_allows_this_script_alone(whole_run: Path) -> None:
    html = (whole_run / "capacity.html").read_text(encoding="utf-8")
    assert re.search(r"script-src &#39;sha256-[\w+/=]{44}&#39;|script-src 'sha256-[\w+/=]{44}'", html)


def test_page_is_small(whole_run: Path) -> None:
    assert (whole_run / "capacity.html").stat().st_size < 300_000


def test_hostile_text_stays_text(run: Path) -> None:
    report_command.build(hostile_run(run))
    html = (run / "capacity.html").read_text(encoding="utf-8")
    assert "alert(1)</script>" not in html
    assert "<img" not in html
    assert html.count("<script") == 2
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in html
    assert "{{ 7*7 }}" in html
    summary = (run / "summary.md").read_text(encoding="utf-8")
    assert re.search(r"(?<!\\)<script", re.sub(r"(`+).*?\1", "", summary)) is None


def test_the_command_in_the_summary_stays_code(run: Path, whole_run: Path) -> None:
    report_command.build(run)
    page = viewed(whole_run)
    assert page.next is not None
    hostile = replace(page.next, command=["probe", "run", "`<script>`", "``"])
    capacity = json.loads((run / "capacity.json").read_text(encoding="utf-8"))
    text = summary_and_junit.summary(replace(page, next=hostile), capacity, None)
    assert "``` probe run `<script>` `` ```" in text


def test_hostile_level_names_cannot_leave_the_data_block(whole_run: Path) -> None:
    page = viewed(whole_run)
    assert page.axis is not None
    stretch = replace(page.axis.stretches[0], name="</script><script>alert(1)</script>")
    html = render.html(replace(page, axis=replace(page.axis, stretches=[stretch])))
    assert "</script><script>alert" not in html


def test_unknown_names_in_a_template_are_errors() -> None:
    with pytest.raises(Exception, match="nothing_of_this_name"):
        environment(render.TEMPLATES).from_string("{{ nothing_of_this_name }}").render()


def test_no_line_ends_within_an_option() -> None:
    flag = '<span class="flag">--max-num-seqs</span>'
    assert inline_code("Raise --max-num-seqs <b>") == f"Raise {flag} &lt;b&gt;"
    assert inline_code("a -- b, well-known--x") == "a -- b, well-known--x"
    assert inline_code("set `--max-num-seqs 8` < 9") == f"set <code>{flag} 8</code> &lt; 9"
