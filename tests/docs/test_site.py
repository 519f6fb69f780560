"""The site lists every page, leads nowhere wrong, and loads nothing from elsewhere. `make docs` builds it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.site.__main__ import HARMLESS, LOADED, SITE, SOURCE
from scripts.site.stage import ROOT, STYLE, pages, stage
from tests.deployment.test_containers import pins

CONFIGURATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def listed(entries: Any) -> list[str]:
    """Return the pages of a navigation in order."""
    if isinstance(entries, str):
        return [entries]
    below = entries.values() if isinstance(entries, dict) else entries
    return [page for entry in below for page in listed(entry)]


def test_every_page_is_in_the_navigation() -> None:
    notebooks = [path.with_suffix(".md").relative_to(ROOT) for path in (ROOT / "docs").rglob("*.ipynb")]
    expected = {str(path) for path in (*pages(), *notebooks)}
    written = listed(CONFIGURATION["nav"])
    assert len(written) == len(set(written))
    assert expected - set(written) == set(), "add the page to `nav` in mkdocs.yml"
    assert set(written) - expected == set(), "mkdocs.yml lists a page that does not exist"


def test_configuration() -> None:
    assert CONFIGURATION["theme"]["font"] is False
    assert CONFIGURATION["extra_css"] == [str(STYLE)]
    assert (ROOT / CONFIGURATION["docs_dir"], ROOT / CONFIGURATION["site_dir"]) == (SOURCE, SITE)
    assert "http" not in re.sub(r"#.*", "", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))


def test_what_a_page_links_to_is_there(tmp_path: Path) -> None:
    assert stage(tmp_path / "site") == []
    for path in ("README.md", "docs/ci.md", "docs/images/report.png", "LICENSE", "configs/slo/chat.yaml", str(STYLE)):
        assert (tmp_path / "site" / path).is_file()
    assert "- [chat.yaml](chat.yaml)" in (tmp_path / "site" / "configs" / "slo" / "index.md").read_text()
    assert "(../configs/workloads/index.md)" in (tmp_path / "site" / "docs" / "workloads.md").read_text()


def test_options_are_marked_for_the_style_sheet(tmp_path: Path) -> None:
    stage(tmp_path)
    style = (tmp_path / STYLE).read_text(encoding="utf-8")
    text = (tmp_path / "docs" / "options" / "users.md").read_text(encoding="utf-8")
    assert "`--levels`{.option}" in text
    assert "code.option" in style
    assert '| <span class="options">option</span> | variable | default | meaning |' in text
    assert "table:has(.options)" in style
    assert 'options">' not in (tmp_path / "docs" / "reading-a-report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("tag", "loads"),
    [
        ('<script src="https://cdn.example/x.js"></script>', True),
        ("<link rel=stylesheet href=//fonts.example/css>", True),
        ('<img alt="a" src="http://img.example/a.png">', True),
        ('<script src="assets/x.js"></script>', False),
        ('<a href="https://example.com">', False),
        ('<link rel="canonical" href="https://example.com/">', False),
    ],
)
def test_what_is_loaded_from_elsewhere_is_found(tag: str, loads: bool) -> None:
    assert bool([found for found in LOADED.findall(tag) if not HARMLESS.search(found)]) == loads


@pytest.mark.parametrize("lock", ["scripts/site/requirements.lock", "scripts/release/requirements.lock"])
def test_locks_pin_the_tested_versions_by_hash_and_name_no_url(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    tested, own = pins("requirements.lock"), pins(lock)
    assert all(own.values()), "a requirement without a hash"
    shared = {pin.partition("==")[0] for pin in tested} & {pin.partition("==")[0] for pin in own}
    assert {pin for pin in own if pin.partition("==")[0] in shared} <= set(tested)
