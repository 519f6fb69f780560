"""The wheel as a stranger gets it: one name, everything in it, working from a folder that is not this one."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import PATIENCE, sim  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[1]


def canonical(name: str) -> str:
    """As PEP 503 compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_run_is_part_of_the_project() -> None:
    """What a run or a worker leaves is no source, but for the examples and what tests read."""
    if not (ROOT / ".git").exists():
        pytest.skip("NOT CHECKED: this is no clone")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    assert "README.md" in listed
    left = re.compile(r"(^|/)((requests|gaps)(-[^/]*)?\.csv|worker-[^/]*\.json|run\.json)$")
    assert [name for name in listed if left.search(name) and not name.startswith(("tests/", "reports/"))] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout, without a network."""
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = place.glob("probe_ext-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with the wheel in it. It may import what the wheel needs, and not this checkout."""
    home = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    before = names_in(purelib(home))
    install = [sys.executable, "-m", "pip", f"--python={home / 'bin' / 'python'}", "install", "--quiet", "--no-deps"]
    install += ["--no-index", "--disable-pip-version-check", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    gained = names_in(purelib(home)) - before
    (home / "gained.json").write_text(json.dumps(sorted(gained)))
    (purelib(home) / "zz_needed.pth").write_text(f"{dependencies(home.parent)}\n")
    return home


def purelib(home: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", vars={"base": str(home)}))


def names_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def dependencies(place: Path) -> Path:
    """A folder that shows what is installed here, all but probe_ext itself."""
    shown = place / "needed"
    shown.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.suffix != ".pth" and "probe_ext" not in entry.name:
            (shown / entry.name).symlink_to(entry)
    return shown


def probe(home: Path, cwd: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PROBE", "LOCUST", "COV"))}
    command = [str(home / "bin" / "probe"), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
    )


def test_one_name_is_added_to_site_packages(installed: Path) -> None:
    gained = json.loads((installed / "gained.json").read_text())
    names = {name for name in gained if not name.endswith(".dist-info")}
    assert names == {"probe_ext"}
    assert [canonical(name.partition("-")[0]) for name in gained if name.endswith(".dist-info")] == ["probe-ext"]
    assert (installed / "bin" / "probe").exists()


def test_what_is_imported_is_the_wheels(installed: Path, tmp_path: Path) -> None:
    program = "import probe_ext, locust; print(probe_ext.__file__)"
    command = [str(installed / "bin" / "python"), "-c", program]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert result.stdout.strip().startswith(str(purelib(installed))), result.stderr


def test_the_wheel_holds_every_file_that_the_package_reads(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    needed = {f"probe_ext/_bundled/{path.relative_to(ROOT)}" for path in (ROOT / "locustfiles").glob("*.py")}
    needed |= {f"probe_ext/_bundled/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")}
    package = [path for path in (ROOT / "probe_ext").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    needed |= {str(path.relative_to(ROOT)) for path in package}
    assert len(needed) > 100
    assert needed - inside == set()
    for kind in (".html.j2", "words.txt", "slo/chat.yaml", "locustfiles/capacity.py"):
        assert [name for name in inside if name.endswith(kind)], kind


def test_the_wheel_holds_nothing_else(wheel: Path) -> None:
    inside = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in inside} == {"probe_ext"}
    assert not [name for name in inside if "__pycache__" in name or "/tests/" in name or name.endswith(".pyc")]
    assert [name for name in inside if name.endswith("dist-info/licenses/LICENSE")]


def test_list_run_and_report_work_from_a_foreign_folder(installed: Path, sim: str, tmp_path: Path) -> None:  # noqa: F811
    listed = probe(installed, tmp_path, "list")
    assert listed.returncode == 0, listed.stderr
    for path in (*(ROOT / "locustfiles").glob("*.py"), *(ROOT / "configs" / "slo").glob("*.yaml")):
        assert re.search(rf"^  {path.stem} +\S", listed.stdout, re.MULTILINE), path.stem

    levels = ("--levels", "2", "--hold", "2s", "--settle", "0s", "--min-replies", "1", "--max-tokens", "16")
    ran = probe(installed, tmp_path, "run", "capacity", "--host", sim, *levels)
    assert ran.returncode == 0, ran.stderr
    (out,) = (tmp_path / "reports" / "runs").iterdir()  # the default place is below where one stands
    first = json.loads((out / "capacity.json").read_text())
    assert first["levels"][0]["replies"] >= 2
    assert str(out.relative_to(tmp_path)) in ran.stdout

    (out / "capacity.json").unlink()
    again = probe(installed, tmp_path, "report", out.relative_to(tmp_path), "--slo", "coding-assistant")
    assert again.returncode == 0, again.stderr
    assert json.loads((out / "capacity.json").read_text())["levels"][0]["replies"] == first["levels"][0]["replies"]


LOCK = (ROOT / "requirements.lock").read_text()
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(.*)$")


def requirements() -> dict[str, str]:
    """Name to the text behind it, continuation lines joined."""
    found = {}
    for line in LOCK.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            match = REQUIREMENT.match(line.strip())
            assert match, f"no pinned requirement: {line[:80]}"
            found[canonical(match[1])] = match[3]
    return found


def test_every_requirement_of_the_lock_is_pinned_with_hashes_and_comes_from_no_url() -> None:
    locked = requirements()
    assert len(locked) > 20
    assert [name for name, rest in locked.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", rest)] == []
    assert "://" not in LOCK
    assert "--index" not in LOCK
    assert "--find-links" not in LOCK


def test_every_dependency_stands_in_the_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {canonical(re.split(r"[<>=!~;\[ ]", text, maxsplit=1)[0]) for text in wanted}
    assert len(names) > 20
    assert names - set(requirements()) == set()


def test_what_the_package_imports_is_declared() -> None:
    """A library that only comes along with another may be gone tomorrow."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonical(re.split(r"[<>=!~;\[ ]", text, maxsplit=1)[0]) for text in project["dependencies"]}
    face_of = {"yaml": "pyyaml", "urllib3": "requests", "flask": "locust", "markupsafe": "jinja2"}
    """names that come with another library and belong to its face"""
    imported = set()
    for path in (ROOT / "probe_ext").rglob("*.py"):
        imported |= set(re.findall(r"^\s*(?:from|import) ([a-zA-Z0-9_]+)", path.read_text(), re.MULTILINE))
    foreign = imported - set(sys.stdlib_module_names) - {"probe_ext"}
    foreign = {name for name in foreign if (Path(sysconfig.get_path("purelib")) / name).exists()}
    assert "locust" in foreign
    assert {canonical(face_of.get(name, name)) for name in foreign} - declared == set()
