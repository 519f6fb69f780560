"""Copy what comes with the package into a folder, to read, use and change.

That is the scenarios (locustfiles/), SLO profiles and workloads (configs/), the documentation (docs/), a
docker-compose.yml with what it needs, and a README.md that says how to begin. A file that is there already and differs
is kept, and named. --force replaces those that an earlier version wrote, unless they were changed since: what was
written is noted in .probe-init.json.

A copy is used by its path: probe run locustfiles/capacity.py, --slo configs/slo/chat.yaml,
--workload configs/workloads/coding.yaml. A bare name is always the one that comes with the package.

examples:
  probe init .
  probe init load-test --force
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from probe_ext.bundled import bundled
from probe_ext.exit_codes import ExitCode

_COPIED = ("locustfiles", "configs", "docs", "docker", "docker-compose.yml")
_README = Path("README.md")
_RECORD = Path(".probe-init.json")
_README_TEXT = """# A load test of your LLM server

Made by `probe init`. All files are yours to change. Start the server first, or `probe sim --port 8000` for a simulated
one. In this folder, there are three ways to use it:

- In a browser, adding users by hand: `probe ui locustfiles/capacity.py --host http://127.0.0.1:8000`
- Headless, for the answer, in scripts and CI: `probe run locustfiles/capacity.py --host http://127.0.0.1:8000 --search`
- As several processes, for more users than one core can simulate, here or on [several machines](docs/swarm.md):
  `probe run locustfiles/capacity.py --host http://127.0.0.1:8000 --levels 8,16 --processes 2`

Each run writes a folder in `reports/runs/`, with the report in `capacity.html`.

| folder | contents |
|---|---|
| `locustfiles/` | what users ask: [scenarios](docs/locustfiles.md) |
| `configs/slo/` | when a reply counts as served; use one by its path, as `--slo configs/slo/chat.yaml` |
| `configs/workloads/` | [kinds of user](docs/workloads.md), as `--workload configs/workloads/coding.yaml` |
| `docker-compose.yml` | server, load test and monitoring in containers: [docs](docs/ways-to-run.md) |
| `docs/` | the documentation: begin with [your first run](docs/first-run.md) |
"""
_LINK = re.compile(r"(?<!!)\[(?P<text>[^][]*)\]\((?P<path>[^()#\s]+)(?:#[^()\s]*)?\)")
_RENAMED = {Path("docker/wheel.Dockerfile"): Path("Dockerfile")}
_LEFT_OUT = {"__pycache__", "build.lock", "requirements.lock"}  # the locks build the wheel and the documentation


@dataclass
class Copied:
    """What became of each file: paths relative to the folder."""

    new: list[Path] = field(default_factory=list)
    replaced: list[Path] = field(default_factory=list)
    same: list[Path] = field(default_factory=list)
    outdated: list[Path] = field(default_factory=list)
    """written by an earlier version, not changed since, and kept"""
    foreign: list[Path] = field(default_factory=list)
    """differ, as they were changed or written by someone else, and are kept in any case"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder and --force."""
    parser.add_argument("directory", metavar="DIR", type=Path, help="folder to copy to; made if it is missing")
    parser.add_argument(
        "--force", action="store_true", help="replace files of an earlier version that were not changed"
    )


def main(options: argparse.Namespace) -> int:
    """Copy, say what became of files that were there, and return the exit code."""
    place: Path = options.directory
    if place.exists() and not place.is_dir():
        print(f"probe init: {place}: not a folder", file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.USAGE
    try:
        copied = copy_files(place, force=options.force)
    except OSError as error:
        where = error.filename2 or error.filename or place
        print(f"probe init: {where}: {os.strerror(error.errno or 0).lower()}", file=sys.stderr)  # noqa: T201 - command output
        return ExitCode.USAGE
    print("\n".join(_lines(place, copied)))  # noqa: T201 - command output
    return ExitCode.OK


def copy_files(place: Path, *, force: bool) -> Copied:
    """Copy all files that are missing, and with `force` those that an earlier version wrote and nobody changed.

    OSError names the file that failed.
    """
    copied, written = Copied(), _read_record(place)
    files = starter_files()
    for target, source in sorted(files.items()):
        path = place / target
        content = _README_TEXT.encode() if target == _README else _content(target, source, files)
        if not os.path.lexists(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            copied.new.append(target)
        elif not path.is_file() or path.is_symlink():
            copied.foreign.append(target)
            continue
        elif (present := path.read_bytes()) == content:
            copied.same.append(target)
            written[str(target)] = _digest(content)
            continue
        elif written.get(str(target)) != _digest(present):
            copied.foreign.append(target)
            continue
        elif not force:
            copied.outdated.append(target)
            continue
        else:
            copied.replaced.append(target)
        path.write_bytes(content)
        path.chmod(0o755 if path.suffix == ".sh" else 0o644)
        written[str(target)] = _digest(content)
    _write_record(place, written)
    return copied


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_record(place: Path) -> dict[str, str]:
    """Return what was written here before, by path: a digest of its content. Nothing of a damaged record counts."""
    with contextlib.suppress(OSError, ValueError):
        record = json.loads((place / _RECORD).read_text(encoding="utf-8"))
        if isinstance(record, dict):
            return {str(path): str(digest) for path, digest in record.items()}
    return {}


def _write_record(place: Path, written: Mapping[str, str]) -> None:
    path = place / _RECORD
    path.unlink(missing_ok=True)  # a link's target may lie elsewhere
    path.write_bytes(f"{json.dumps(dict(sorted(written.items())), indent=1)}\n".encode())


def _content(target: Path, source: Path, files: Mapping[Path, Path]) -> bytes:
    """Return what is written: of a page, without links to what only the repository has, whose text stays."""
    content = source.read_bytes()
    if target.suffix != ".md":
        return content
    copied = {path for file in files for path in (file, *file.parents)}

    def link(found: re.Match[str]) -> str:
        path = Path(os.path.normpath(target.parent / found["path"]))
        return found[0] if "://" in found["path"] or path in copied else found["text"]

    return _LINK.sub(link, content.decode()).encode()


def starter_files() -> dict[Path, Path]:
    """Return what is copied: paths in the new folder, and where each file comes from."""
    files: dict[Path, Path] = {_README: Path(__file__)}
    for name in _COPIED:
        source = bundled(name)
        inside = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
        for path in inside:
            target = Path(name) / path.relative_to(source)
            if not _LEFT_OUT & set(target.parts):
                files[_RENAMED.get(target, target)] = path
    return files


def _lines(place: Path, copied: Copied) -> list[str]:
    lines = [f"replaced {place / path}" for path in copied.replaced]
    lines += [f"kept {place / path}: it is from an earlier version; --force replaces it" for path in copied.outdated]
    why = "it was changed, or not written by probe init; to get the package's, move it away first"
    lines += [f"kept {place / path}: {why}" for path in copied.foreign]
    there = f", {len(copied.same)} were there already" if copied.same else ""
    lines.append(f"{place}: copied {_files(len(copied.new) + len(copied.replaced))}{there}")
    lines.append(
        "scenarios: locustfiles/ · SLO profiles, workloads: configs/ · documentation: docs/ · docker-compose.yml"
    )
    lines.append(f"try: probe ui {place / 'locustfiles' / 'capacity.py'}")
    return lines


def _files(n: int) -> str:
    return "1 file" if n == 1 else f"{n} files"
