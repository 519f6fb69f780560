"""``python -m scripts.page.recording``: record the terminal of a real run as an animated picture for the README.

Runs ``probe run`` against a simulated server and notes when each line is printed; the picture shows the lines in that
order, much faster, and leaves out those of users who settle. It is an SVG without scripts or fonts from elsewhere;
whoever prefers no motion sees the last frame.
"""

import argparse
import subprocess
import sys
import time
from html import escape
from pathlib import Path

from scripts.processes import PROBE, simulated

OUT = Path(__file__).parents[2] / "docs" / "images" / "terminal.svg"
SHOWN_HOST = "http://127.0.0.1:8000"
SHOWN = f"probe run capacity --host {SHOWN_HOST} --levels 2,4,8,10,12,16"
COLUMNS, LINE_PX, LETTER_PX, MARGIN_PX = 122, 19, 7.8, 16
LONGEST_WAIT_S, SECONDS_PER_SECOND, STAYS_S = 1.2, 18.0, 8.0
STYLE = """
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d9dce1;white-space:pre}
.command{fill:#8fb0e3;font-weight:600}.answer{fill:#4cc4a6;font-weight:600}.dim{fill:#9aa0a8}
@media(prefers-reduced-motion:no-preference){.line{opacity:0;animation:%TOTALs step-end infinite}%FRAMES}
"""

Line = tuple[float, str]


def record(run: Path, levels: str) -> list[Line]:
    """Run it; returns the lines with the seconds at which they were printed."""
    lines: list[Line] = []
    with simulated("--profile", "demo") as host:
        command = [*PROBE, "run", "capacity", "--host", host, "--levels", levels, "--out", run]
        started = time.monotonic()  # noqa: TID251 - a recording is of real time
        process = subprocess.Popen(
            [*command, "--force"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        for line in process.stdout or ():
            text = line.rstrip("\n").replace(host, SHOWN_HOST)
            lines.append((time.monotonic() - started, text))  # noqa: TID251 - as above
        if process.wait():
            sys.exit(f"the run ended with exit code {process.returncode}:\n" + "\n".join(text for _, text in lines))
    return lines


def picture(lines: list[Line], run: Path) -> str:
    """Draw the lines; waits are shortened."""
    kept = [(at, text.replace(str(run), "reports/runs/…")) for at, text in lines if "settling" not in text]
    shown = [(at, piece, _kind(text)) for at, text in kept for piece in _wrapped(text)]
    moments, now, before = [], 0.8, 0.0
    for at, _, _ in shown:
        now += min((at - before) / SECONDS_PER_SECOND, LONGEST_WAIT_S)
        before = at
        moments.append(now)
    total = now + STAYS_S
    frames = "".join(
        f"@keyframes l{number}{{0%{{opacity:0}}{100 * moment / total:.2f}%{{opacity:1}}100%{{opacity:1}}}}"
        f"#l{number}{{animation-name:l{number}}}"
        for number, moment in enumerate(moments)
    )
    width, height = round(COLUMNS * LETTER_PX + 2 * MARGIN_PX), (len(shown) + 1) * LINE_PX + 2 * MARGIN_PX
    rows = [_row(0, f"$ {SHOWN}", "command", "")]
    rows += [_row(n + 1, text, kind, f' id="l{n}"') for n, (_, text, kind) in enumerate(shown)]
    style = STYLE.replace("%TOTAL", f"{total:.1f}").replace("%FRAMES", frames).strip()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Terminal: {escape(SHOWN)}. {escape(lines[-2][1])}"><style>{style}</style>'
        f'<rect width="{width}" height="{height}" rx="8" fill="#17191c"/>' + "".join(rows) + "</svg>\n"
    )


def _wrapped(text: str) -> list[str]:
    """Break a long line at a space, as a terminal would not, but a reader prefers."""
    pieces = []
    while len(text) > COLUMNS:
        cut = text.rfind(" ", 0, COLUMNS)
        pieces.append(text[:cut])
        text = text[cut + 1 :]
    return [*pieces, text]


def _kind(text: str) -> str:
    if "people can use this" in text or "between was not measured" in text:
        return "answer"
    return "dim" if text[:5].replace(":", "").isdigit() or text.startswith("probe:") else "plain"


def _row(number: int, text: str, kind: str, mark: str) -> str:
    y = MARGIN_PX + (number + 1) * LINE_PX - 5
    return f'<text{mark} class="{"line " if mark else ""}{kind}" x="{MARGIN_PX}" y="{y}">{escape(text)}</text>'


def main() -> int:
    """Record a run and draw it."""
    parser = argparse.ArgumentParser(prog="python -m scripts.page.recording", description=__doc__)
    parser.add_argument("run", type=Path, help="directory for the run, which the pictures of the report can use, too")
    parser.add_argument("--levels", default="2,4,8,10,12,16")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    args.out.write_text(picture(record(args.run, args.levels), args.run), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
