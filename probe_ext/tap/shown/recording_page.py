"""The page of a recording: one file without scripts or requests, written anew while the recording goes on."""

from pathlib import Path

from probe_ext.page.environment import environment, style
from probe_ext.tap.shown.recording_view import RecordingView

PAGE_FILE = "tap.html"
_TEMPLATES = Path(__file__).with_name("templates")


def render(view: RecordingView) -> str:
    """Return the page's HTML."""
    page = environment(_TEMPLATES).get_template("recording.html.j2")
    return page.render(style=style(), view=view)


def write_page(folder: Path, view: RecordingView) -> Path:
    """Write the page into the recording's folder, replacing an earlier one in one step. OSError if it cannot."""
    path, draft = folder / PAGE_FILE, folder / f"{PAGE_FILE}.new"
    draft.write_text(render(view), encoding="utf-8")
    draft.replace(path)
    return path
