"""``python -m scripts.site``: build the documentation into build/site, which any web server can serve as it is.

Executes the example notebooks first, and fails on a notebook that does not run, on warnings of the generator, and on
anything that a page would load from elsewhere.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from scripts.site.stage import ROOT, stage

SOURCE, SITE = ROOT / "build" / "site-source", ROOT / "build" / "site"
LOADED = re.compile(
    r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=\"?(?:https?:)?//[^\s\">]+", re.IGNORECASE
)
HARMLESS = re.compile(r"rel=\"?(?:canonical|next|prev|license)")


def main() -> int:
    """Build the site. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m scripts.site", description=__doc__)
    parser.add_argument("--no-notebooks", action="store_true", help="do not execute the notebooks")
    parser.add_argument("--update-notebooks", action="store_true", help="keep what the notebooks show now")
    args = parser.parse_args()
    if not args.no_notebooks and (why := _executed(keep=args.update_notebooks)):
        print(why, file=sys.stderr)
        return 1
    broken = stage(SOURCE)
    if broken:
        print("links that lead nowhere:", *broken, sep="\n  ", file=sys.stderr)
        return 1
    generator = Path(sys.executable).with_name("zensical")
    built = subprocess.run([generator, "build", "--clean", "--strict"], cwd=ROOT, check=False)
    if built.returncode:
        return 1
    foreign = [f"{page.relative_to(SITE)}: {tag}" for page in sorted(SITE.rglob("*.html")) for tag in _foreign(page)]
    if foreign:
        print("loaded from elsewhere:", *foreign, sep="\n  ", file=sys.stderr)
        return 1
    print(f"{SITE.relative_to(ROOT)}: {len(list(SITE.rglob('*.html')))} pages")
    return 0


def _foreign(page: Path) -> list[str]:
    return [tag for tag in LOADED.findall(page.read_text(encoding="utf-8")) if not HARMLESS.search(tag)]


def _executed(*, keep: bool) -> str:
    """Execute the notebooks as Jupyter does, and write them if `keep`. Returns why one failed."""
    import nbformat  # noqa: PLC0415 - only the environment of the docs has these
    from nbclient import NotebookClient  # noqa: PLC0415
    from nbclient.exceptions import CellExecutionError  # noqa: PLC0415

    for path in sorted((ROOT / "docs").rglob("*.ipynb")):
        client = NotebookClient(
            nbformat.read(path, as_version=4), timeout=120, resources={"metadata": {"path": path.parent}}
        )
        try:
            client.execute()
        except CellExecutionError as error:
            return f"{path.relative_to(ROOT)}: {error}"
        if keep:
            for cell in client.nb.cells:
                cell.metadata = {}  # the times of execution
                for data in (output.get("data", {}) for output in cell.get("outputs", ())):
                    if "text/html" in data:
                        data.pop("text/plain", None)
            client.nb.metadata.pop("language_info", None)
            nbformat.write(client.nb, path)
    return ""


if __name__ == "__main__":
    sys.exit(main())
