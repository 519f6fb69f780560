"""Pages that repeat something say the same, and old links still lead to what they named."""

import re
from collections.abc import Sequence

from benchmarks import results
from tests.test_docs import ROOT, documented, names, section, tables, text

RESULTS = text("benchmarks/RESULTS.md")


def test_scenarios_and_workloads_are_all_listed() -> None:
    assert set(documented("docs/scenarios.md", "Scenarios")) == {
        path.stem for path in (ROOT / "locustfiles").glob("*.py")
    }
    listed = tables(section("docs/scenarios.md", "Workloads"))[0]
    assert listed == tables(text("docs/workloads.md"))[0]
    assert set(names(listed)) == {path.stem for path in (ROOT / "configs" / "workloads").glob("*.yaml")}


def rows_of(page: str, heading: str) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of a section's first table."""
    part = section(page, heading)
    head = next(line for line in part.splitlines() if line.startswith("|"))
    return [cell.strip() for cell in head.strip("|").split("|")], tables(part)[0]


def check_repeated(page: str, heading: str, original: str, keys: Sequence[str]) -> None:
    """Each row of a page is one of the results, column by column; a repeated name means the column after another."""
    head, rows = rows_of(page, heading)
    result_head, result_rows = rows_of("benchmarks/RESULTS.md", original)
    renamed = {"error p50": "p50", "error p99": "p99"}
    places: list[int] = []
    for name in head:
        known = result_head.index(renamed.get(name, name)) if name != "true" else places[-1] + 1
        assert name != "true" or result_head[known] == "true"
        places.append(known)
    assert set(keys) <= set(head)
    assert len(rows) >= 5
    for row in rows:
        assert row in [[result[place] for place in places] for result in result_rows], f"{page}: {row}"


def test_figures_of_the_benchmarks_are_repeated_as_they_are() -> None:
    check_repeated("docs/peers.md", "Figures", "Compared with other tools", ["tool", "CPU per token", "TTFT p99"])
    check_repeated("docs/accuracy.md", "The load generator", "Timing accuracy", ["streams", "wire", "error p99"])
    for page, original in (("docs/peers.md", "Compared with other tools"), ("docs/accuracy.md", "Timing accuracy")):
        day, month, year = re.search(r"(\d+) (November) (\d{4})", text(page)).groups()  # type: ignore[union-attr]
        assert f"{year}-11-{int(day):02}" in section("benchmarks/RESULTS.md", original), month


def test_measuring_a_part_anew_keeps_the_others_and_the_texts() -> None:
    assert results.page(RESULTS) == RESULTS
    found = {"page_bytes": 5, "rows": 2, "ms": 1.5}
    anew = results.page(RESULTS, results.section("poller", "2030-01-01 00:00 UTC", found, "On a machine in use."))
    before, after = (page.split("\n## ") for page in (RESULTS, anew))
    assert len(after) == len(before)
    (changed,) = (text for text in after if text not in before)
    assert "2030-01-01 00:00 UTC; " in changed
    assert "On a machine in use.\n\nA page of 5 bytes (2 values used)" in changed


def test_the_first_page_answers_a_stranger() -> None:
    start = text("README.md").split("## Try it")[0]
    for question in (
        "Is it for me?",
        "How long does it take?",
        "What does it do to my server?",
        "What does the number mean?",
    ):
        assert f"**{question}**" in start
    assert "](docs/images/report.png)" in start
    assert len(start.split()) < 500


def test_what_the_first_run_says_of_its_table_is_in_the_table() -> None:
    page = text("docs/first-run.md")
    rows = {cells[0]: cells[1:] for line in page.splitlines() if len(cells := re.split(r"\s{2,}", line.strip())) > 4}
    judged = {users: int(cells[3 if "–" in cells[1] else 2]) for users, cells in rows.items() if users != "users"}
    assert set(judged) == {"2", "8 (2 visits)", "8 (1st)", "8 (2nd)", "16"}
    assert judged["8 (2 visits)"] == judged["8 (1st)"] + judged["8 (2nd)"]
    assert f"Two users are proven served by only {judged['2']} replies because eight users are served" in page
    explained = [row[0] for row in tables(section("docs/first-run.md", "Try it without a server"))[0]]
    assert {name for cell in explained for name in cell.split(", ")} == {*rows["users"], "users", "(last)"}


MOVED = {
    "timing.md": ("timestamps-of-one-reply", "how-bytes-are-timed", "measurement-accuracy", "figures-of-one-reply"),
    "outcomes.md": ("outcomes",),
    "judging.md": ("from-a-reply-to-a-user", "agents", "kinds-of-user", "by-the-reply"),
    "estimate.md": ("others-load", "how-the-capacity-is-estimated", "references"),
    "people-and-cost.md": ("people-and-money", "energy"),
}
"""sections that were once in docs/definitions.md, which notes and reports elsewhere may link to"""


def test_links_to_sections_that_moved_still_lead_there() -> None:
    (rows, *_) = tables(text("docs/definitions.md"))
    for page, anchors in MOVED.items():
        (row,) = [row for row in rows if f"({page})" in row[1]]
        assert re.findall(r'<a id="([^"]+)"></a>', row[1]) == list(anchors)


MOVED_DOWN = {
    "options.md": {
        "options/requests.md": ("requests", "headers-and-body-fields"),
        "options/users.md": ("users-and-duration", "levels"),
        "options/search.md": ("a-search",),
        "options/rates.md": ("rates",),
        "options/server.md": ("timeouts", "the-server", "tls"),
        "options/verdict.md": ("verdict-and-files",),
        "options/host.md": ("a-server-on-this-machine",),
        "options/secrets.md": ("api-keys",),
    },
    "workloads.md": {
        "workloads/file.md": ("a-workload-file", "kinds", "prompts", "system_prompt", "model"),
        "workloads/distributions.md": ("distributions",),
        "workloads/arrivals.md": ("arrivals", "a-days-curve"),
        "workloads/agents.md": ("agents",),
        "workloads/locustfile.md": ("in-a-locustfile",),
    },
}
"""page that was split: page below it, and the sections that it has from there"""


def test_a_page_that_was_split_leads_to_its_parts() -> None:
    for page, parts in MOVED_DOWN.items():
        lines = [line for line in text(f"docs/{page}").splitlines() if '<a id="' in line]
        found = {re.findall(r"\]\(([^)]+)\)", line)[0]: tuple(re.findall(r'<a id="([^"]+)"', line)) for line in lines}
        assert found == parts
    for line in text("docs/capacity-json.md").splitlines():
        if '<a id="' in line:
            assert re.findall(r'<a id="([^"]+)"', line) == re.findall(r"`(\w+)`", line)


REFERENCES = {
    "checks.md": "a table of all checks, by name",
    "python-api.md": "made from the docstrings",
    "run-json.md": "the keys of one file, by name",
}
"""pages that are looked up by name and not read through"""
WORDS = 1600


def test_pages_are_short() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        words = len(page.read_text(encoding="utf-8").split())
        assert words <= WORDS or str(page.relative_to(ROOT / "docs")) in REFERENCES, (
            f"{page.name}: {words} words; split it"
        )


def test_every_page_begins_with_the_question_that_it_answers() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        title, first, *_ = page.read_text(encoding="utf-8").split("\n\n")
        assert "?" in title + first, page.name
