"""Lay out the Markdown files of the project for the site generator.

The pages keep their paths (README.md at the root, `docs/…` below it), so that links work in both places. What pages
link to, but the site would lack, is added: a file as it is, a directory as a page that lists its files, a notebook as
a page.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from scripts.site.notebook import as_markdown

ROOT = Path(__file__).resolve().parents[2]
STYLE = Path("scripts/site/site.css")
FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(?=[)#\s])")
OPTION = re.compile(r"(?<!`)`(--[a-z][a-z-]*(?:[ =][\w.,%]{1,12})?)`(?![`{])")
OPTION_TABLE = re.compile(r"^\| option (?=(?:\| variable )?\| default \| meaning \|)", re.MULTILINE)


def pages() -> list[Path]:
    """Return the pages of the site, relative to the root: those of the root, docs/ and reports/, and the benchmarks."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "RESULTS.md"]
    found += [path for path in (ROOT / "reports").rglob("*.md") if "runs" not in path.parts]
    return sorted(path.relative_to(ROOT) for path in found if path.name != "summary.md")


def stage(to: Path) -> list[str]:
    """Fill an empty directory with all that the site consists of. Returns the links that lead nowhere."""
    shutil.rmtree(to, ignore_errors=True)
    waiting, done, broken = [*pages(), Path("docs/images"), STYLE], set(), []
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        source = ROOT / path
        if source.is_dir() and path.name == "images":
            shutil.copytree(source, to / path)
        elif source.is_dir():
            waiting += _write(to / path / "index.md", _listing(path), path / "index.md", broken)
        elif source.suffix == ".md":
            waiting += _write(to / path, source.read_text(encoding="utf-8"), path, broken)
        elif source.suffix == ".ipynb":
            text = as_markdown(json.loads(source.read_text(encoding="utf-8")))
            waiting += _write(to / path.with_suffix(".md"), text, path, broken)
        else:
            (to / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, to / path)
    return broken


def _write(to: Path, text: str, page: Path, broken: list[str]) -> list[Path]:
    """Write a page and return what it links to."""
    to.parent.mkdir(parents=True, exist_ok=True)
    linked: list[Path] = []

    def adapted(match: re.Match[str]) -> str:
        link = match[1]
        if ":" in link:
            return link
        target = Path(os.path.normpath(page.parent / link))
        if not (ROOT / target).exists():
            broken.append(f"{page}: {link}")
            return link
        linked.append(target)
        if (ROOT / target).is_dir():
            return f"{link.rstrip('/')}/index.md"
        return link.removesuffix(".ipynb") + ".md" if link.endswith(".ipynb") else link

    text = _outside_code(text, LINK, adapted)
    # site.css keeps an option on one line, which a browser would break after its first two hyphens, and stacks the
    # cells of a table of options on a phone
    text = _outside_code(text, OPTION, r"`\1`{.option}")
    to.write_text(_outside_code(text, OPTION_TABLE, '| <span class="options">option</span> '), encoding="utf-8")
    return linked


def _outside_code(text: str, pattern: re.Pattern[str], adapted: Callable[[re.Match[str]], str] | str) -> str:
    """Replace what the pattern matches, except in blocks of code."""
    pieces, end = [], 0
    for block in FENCED.finditer(text):
        pieces += [pattern.sub(adapted, text[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*pieces, pattern.sub(adapted, text[end:])])


def _listing(folder: Path) -> str:
    """Return a page that lists the files of a directory."""
    files: Iterable[Path] = sorted(path for path in (ROOT / folder).iterdir() if path.is_file())
    rows = [f"- [{path.name}]({path.name})" for path in files if not path.name.startswith((".", "__"))]
    return "\n".join([f"# {folder}", "", "The files of this directory:", "", *rows, ""])
