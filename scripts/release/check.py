"""``python -m scripts.release.check``: are the packages in dist/ fit to be published?

Checks their metadata with twine, lists what is in them (tests/test_packaging.py asserts it), installs the wheel with
its constraints into an environment of its own, and runs the installed command from an empty directory: version, list,
and a short load test of a simulated server with its report.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
import zipfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"
RUN = ("--levels", "2", "--hold", "3s", "--settle", "0s", "--max-tokens", "16", "--out", "run")


def main() -> int:
    """Return 0 if everything works; the exit code of the first step that fails otherwise."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    packages = [DIST / f"probe_ext-{version}-py3-none-any.whl", DIST / f"probe_ext-{version}.tar.gz"]
    missing = [path.name for path in packages if not path.exists()]
    if missing:
        print(f"dist/: {', '.join(missing)} missing; run make wheel", file=sys.stderr)
        return 2
    others = sorted({path.name for path in DIST.iterdir()} - {path.name for path in packages} - {"constraints.txt"})
    if others:
        print(f"dist/: {', '.join(others)}: not of version {version}; remove them", file=sys.stderr)
        return 2
    twine = [Path(sys.executable).with_name("twine"), "check", "--strict", *packages]
    if code := subprocess.run(twine, check=False).returncode:
        return code
    for path in packages:
        print(contents(path))
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        return _installed(Path(folder), packages[0], version)


def contents(package: Path) -> str:
    """Return one line per folder of a package: number of files and their size."""
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            sizes = {Path(one.filename): one.file_size for one in wheel.infolist() if not one.is_dir()}
    else:
        with tarfile.open(package) as sdist:
            sizes = {Path(*Path(one.name).parts[1:]): one.size for one in sdist if one.isfile()}
    files: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for path, number in sizes.items():
        place = "/".join(path.parts[:-1][: 2 if path.parts[0] == "probe_ext" else 1]) or "."
        files[place] += 1
        size[place] += number
    lines = [f"  {place}: {files[place]} files, {size[place] / 1000:,.0f} kB" for place in sorted(files)]
    head = f"{package.name}: {len(sizes)} files, {package.stat().st_size / 1000:,.0f} kB packed"
    return "\n".join([head, *lines])


def _installed(folder: Path, wheel: Path, version: str) -> int:
    """Install the wheel and use it as somebody does who has nothing else of this project."""
    venv.create(folder / "venv", with_pip=True)
    binaries = folder / "venv" / "bin"
    pip = [binaries / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    print("installing the wheel into a clean environment …", flush=True)
    if code := subprocess.run([*pip, "--constraint", DIST / "constraints.txt", wheel], check=False).returncode:
        return code
    work = folder / "work"
    work.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PROBE", "LOCUST"))}
    probe = binaries / "probe"
    shown = subprocess.run([probe, "--version"], cwd=work, env=clean, capture_output=True, text=True, check=False)
    if shown.stdout.strip() != f"probe-ext {version}":
        print(f"probe --version: {shown.stdout or shown.stderr}", file=sys.stderr)
        return 1
    if code := subprocess.run([probe, "list"], cwd=work, env=clean, stdout=subprocess.DEVNULL, check=False).returncode:
        return code
    return _short_run(probe, work, clean)


def _short_run(probe: Path, work: Path, clean: dict[str, str]) -> int:
    with subprocess.Popen([probe, "sim", "--port", "0"], cwd=work, env=clean, stdout=subprocess.PIPE, text=True) as sim:
        try:
            host = sim.stdout.readline().rpartition(" ")[2].strip() if sim.stdout else ""
            code = subprocess.run([probe, "run", "capacity", "--host", host, *RUN], cwd=work, env=clean, check=False)
        finally:
            sim.terminate()
    if code.returncode or not (work / "run" / "capacity.html").exists():
        print("the installed probe made no report", file=sys.stderr)
        return code.returncode or 1
    print("the wheel installs, runs and reports in a clean environment")
    return 0


if __name__ == "__main__":
    sys.exit(main())
