"""Write what `probe doctor`, `probe warmup` and `probe scout` say of every simulated personality, or of a real server.

`make looks` writes `reports/looks/simulated.md`. With `--url URL --as NAME`, the transcripts of that server go to
`reports/looks/NAME.md`.
"""

import argparse
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from probe_ext.sim.metrics.altered_pages import ALTERED
from probe_ext.sim.personality import personality_names
from scripts.processes import PROBE, simulated

FOLDER = Path(__file__).parent.parent / "reports" / "looks"
MACHINE = {"open_files", "disk", "ceiling", "server_process"}
MACHINE_TITLES = ("open files here", "disk space here", "load generator", "the server's machine")
AT_ONCE = 2
SPEED = "4"
_FIGURES = re.compile(r"[\d.,]+(?: m?s\b)?|\([^)]*\)")
_OF_THIS_MACHINE = re.compile(r"token events came (one by one|in \d+ arrivals)")
"""ways in which fine streams arrive, which depend on how busy this machine is"""
_SIMULATED = """# Short looks at every simulated server

What do `probe doctor`, `probe warmup` and `probe scout` say of each
[personality](../../docs/simulator/personalities.md#personalities) of `probe sim`, and of each
[wrong metrics page](../../docs/simulator/personalities.md#wrong-metrics)?
`make looks` writes this page; `make test-doctor` checks the doctor's part of the personalities.

Of the doctor, what it says otherwise than of the first one (apart from figures), without the checks of this machine. Of
the warm-up, its last line, with four requests at once at most. Of the scout, the server's line and the remarks that
belong to its rank.
"""
_REAL = """# Short looks at {name}

What `probe doctor`, `probe warmup` and `probe scout` said of this server. The checks of the load generator's machine
are left out. Load generator and server shared two busy cores: the figures say nothing of either.
"""


@dataclass(frozen=True)
class Looks:
    """What the three commands said."""

    doctor: dict[str, tuple[str, str, str]]
    """status, title and text of each check"""
    warmup: str
    scout: list[str]
    codes: tuple[int, int, int]


def said(*arguments: str) -> tuple[int, str]:
    """Run a command; return its exit code and output."""
    done = subprocess.run([*PROBE, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout or done.stderr


def look(personality: str) -> Looks:
    """Look at a simulated server of a process of its own."""
    option = [personality] if personality.startswith("--") else ["--personality", personality]
    with simulated("--speed", SPEED, *option) as url:
        warm, warm_text = said("warmup", url, "--users", "4")
        seen, found = said("doctor", url, "--json")
        scouted, board = said("scout", url)
    checks = {
        one["id"]: (
            one["status"],
            one["title"],
            " → ".join(filter(None, (one["evidence"], one["advice"]))).replace(url, "URL"),
        )
        for one in json.loads(found)["findings"]
        if one["id"] not in MACHINE or (personality == "few-files" and one["id"] == "server_process")
    }
    return Looks(checks, warm_text.strip().splitlines()[-1], ranked(board, url), (seen, warm, scouted))


def ranked(board: str, url: str) -> list[str]:
    """Return the server's line on the board, and the remarks below it, up to the caption."""
    table = board.split("\n\n", 1)[-1].split("Each server was sent", 1)[0]
    text = re.sub(rf"\s+(?={re.escape(url)}: )", "\n", " ".join(table.split("\n", 1)[-1].split()))
    return [line.replace(url, "URL") for line in text.splitlines() if line]


def page_of(names: list[str]) -> str:
    """Return the page of all personalities."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        looks = dict(zip(names, pool.map(look, names), strict=True))
    plain = {check: _FIGURES.sub("", text) for check, (_, _, text) in looks[names[0]].doctor.items()}
    parts = [_SIMULATED]
    for name, seen in looks.items():
        lines = [
            f"{status:8} {title}: {text}"
            for check, (status, title, text) in seen.doctor.items()
            if name == names[0]
            or status != "ok"
            or not (plain.get(check) == _FIGURES.sub("", text) or _OF_THIS_MACHINE.search(text))
        ]
        doctor, warm, scout = seen.codes
        shown = [
            f"$ probe doctor URL   # exit code {doctor}",
            *(lines or ["as the first one"]),
            f"$ probe warmup URL --users 4   # exit code {warm}",
            seen.warmup,
            f"$ probe scout URL   # exit code {scout}",
            *seen.scout,
        ]
        parts.append(f"## {name.removeprefix('--').replace('=', ' ')}\n\n```\n" + "\n".join(wrapped(shown)) + "\n```\n")
    return "\n".join(parts)


def wrapped(lines: list[str]) -> list[str]:
    """Break lines at 120 characters."""
    result: list[str] = []
    for line in lines:
        row = ""
        for word in line.split(" "):
            if row and len(row) + 1 + len(word) > 120:
                result.append(row)
                row = f"         {word}"
            else:
                row = f"{row} {word}" if row else word
        result.append(row)
    return result


def real(url: str, name: str) -> str:
    """Return the page of one server, with the whole transcripts."""
    commands = (["doctor", url], ["warmup", url, "--users", "4"], ["scout", url])
    parts = [_REAL.format(name=name)]
    for command in commands:
        code, text = said(*command)
        if command[0] == "doctor":
            text = without_machine(text)
        shown = "\n".join(line.rstrip() for line in text.replace(url, "URL").splitlines())
        parts.append(f"```\n$ probe {' '.join(command).replace(url, 'URL')}   # exit code {code}\n{shown}\n```\n")
    return "\n".join(parts)


def without_machine(text: str) -> str:
    """Drop the checks of the load generator's machine from the doctor's table."""
    kept, dropping = [], False
    for line in text.splitlines():
        if line[:1].strip() and line[9:10].strip():
            dropping = line[9:].startswith(MACHINE_TITLES)
        elif line[:1].strip():
            dropping = False  # the last line
        if not dropping:
            kept.append(line)
    return "\n".join(kept)


def main() -> None:
    """Write one page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--as", dest="name", default="server")
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    pages = [f"--metrics={page}" for page in ("off", "slow", "frozen", *ALTERED)]
    names = given.names or [*personality_names(), *pages]
    text = real(given.url, given.name) if given.url else page_of(names)
    slug = re.sub(r"\W+", "-", given.name.lower()) if given.url else "simulated"
    (FOLDER / f"{slug}.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
