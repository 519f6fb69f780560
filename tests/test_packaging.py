"""The wheel as a user installs it: complete, one top-level name, typed, and usable from any folder."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import urllib.error
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

import probe_ext
from scripts.constraints import constraints
from tests.e2e.conftest import PATIENCE, free_port, sim, wait_for  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[1]


def canonical(name: str) -> str:
    """Normalise a project name as in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_run_output_is_committed() -> None:
    """Only examples and test data may contain a run's files."""
    if not (ROOT / ".git").exists():
        pytest.skip("NOT CHECKED: not a git clone")
    git = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = git.stdout.splitlines()
    assert "README.md" in tracked
    output = re.compile(r"(^|/)((requests|gaps)(-[^/]*)?\.csv|worker-[^/]*\.json|run\.json)$")
    assert [name for name in tracked if output.search(name) and not name.startswith(("tests/", "reports/"))] == []


def test_constraints_name_every_dependency_once_without_hashes() -> None:
    """`pip install -c` takes neither hashes nor extras."""
    lines = constraints((ROOT / "docker" / "run.lock").read_text(encoding="utf-8")).splitlines()
    names = [canonical(line.partition("==")[0]) for line in lines]
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert {canonical(re.split(r"[<>=!\[ ;]", each)[0]) for each in declared} <= set(names)
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!-]+( ; .+)?", line) for line in lines)
    assert len(names) > 40


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from this checkout, without a network."""
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = place.glob("probe_ext-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a clean environment that also sees its dependencies, but not this checkout."""
    home = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    before = names_in(purelib(home))
    install = [sys.executable, "-m", "pip", f"--python={home / 'bin' / 'python'}", "install", "--quiet", "--no-deps"]
    install += ["--no-index", "--disable-pip-version-check", str(wheel)]
    done = subprocess.run(install, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    gained = names_in(purelib(home)) - before
    (home / "gained.json").write_text(json.dumps(sorted(gained)))
    (purelib(home) / "zz_dependencies.pth").write_text(f"{dependencies(home.parent)}\n")
    return home


def purelib(home: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", vars={"base": str(home)}))


def names_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def dependencies(place: Path) -> Path:
    """Link everything installed here, except probe_ext itself, into one folder."""
    links = place / "dependencies"
    links.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.suffix != ".pth" and "probe_ext" not in entry.name:
            (links / entry.name).symlink_to(entry)
    return links


def run(*command: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command with nothing in its environment that could make this checkout importable."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PROBE", "LOCUST", "COV", "MYPY"))}
    line = list(map(str, command))
    return subprocess.run(line, cwd=cwd, env=clean, capture_output=True, text=True, check=False, timeout=PATIENCE)


def probe(home: Path, cwd: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return run(home / "bin" / "probe", *arguments, cwd=cwd)


def test_wheel_adds_one_top_level_name(installed: Path) -> None:
    gained = json.loads((installed / "gained.json").read_text())
    names = {name for name in gained if not name.endswith(".dist-info")}
    assert names == {"probe_ext"}
    assert [canonical(name.partition("-")[0]) for name in gained if name.endswith(".dist-info")] == ["probe-ext"]
    assert (installed / "bin" / "probe").exists()


def test_installed_package_is_imported_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    program = "import probe_ext, locust; print(probe_ext.__file__)"
    result = run(installed / "bin" / "python", "-c", program, cwd=tmp_path)
    assert result.stdout.strip().startswith(str(purelib(installed))), result.stderr


LOCUSTFILE = """
from locust import task

from probe_ext import COLD, StreamingUser, events


class Reader(StreamingUser):
    @task
    def read(self) -> None:
        reveal_type(self.llm)
        self.llm.ask(self.prompts.next(), kind=COLD)
        self.llm.aks(self.prompts.next())


reveal_type(COLD)
events.reply.add_listener(print)
"""
# Third-party packages are skipped for speed, as if they shipped no types.
MYPY_INI = "[mypy]\nfollow_imports = skip\nignore_missing_imports = True\n[mypy-probe_ext.*]\nfollow_imports = silent\n"


@pytest.mark.long
def test_mypy_sees_the_types_of_the_installed_package(installed: Path, tmp_path: Path) -> None:
    """`py.typed` and the lazily imported names of `probe_ext` work for type checkers: a misspelt method is found."""
    (tmp_path / "reader.py").write_text(LOCUSTFILE)
    (tmp_path / "mypy.ini").write_text(MYPY_INI)
    python = ("--python-executable", installed / "bin" / "python")
    checked = run(
        sys.executable, "-m", "mypy", *python, "--cache-dir", tmp_path, "--no-error-summary", "reader.py", cwd=tmp_path
    )
    found = [line.partition(": ")[2] for line in checked.stdout.splitlines()]
    assert len(found) == 3, checked.stdout + checked.stderr
    assert re.fullmatch(r'note: Revealed type is "probe_ext\.swarm\..*"', found[0])
    assert re.fullmatch(r'error: ".*" has no attribute "aks".*', found[1])
    assert found[2] == 'note: Revealed type is "str"'


def test_wheel_contains_every_file_that_the_package_reads(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    needed = {f"probe_ext/_bundled/{path.relative_to(ROOT)}" for path in (ROOT / "locustfiles").glob("*.py")}
    needed |= {f"probe_ext/_bundled/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")}
    needed |= {f"probe_ext/_bundled/{path.relative_to(ROOT)}" for path in (ROOT / "docs").rglob("*.md")}
    needed |= {f"probe_ext/_bundled/{name}" for name in ("docker-compose.yml", "docker/wheel.Dockerfile")}
    package = [path for path in (ROOT / "probe_ext").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    package = [path for path in package if path.suffix not in {".c", ".h", ".so"}]  # of the C extension
    needed |= {str(path.relative_to(ROOT)) for path in package}
    assert len(needed) > 100
    assert needed - inside == set()
    for kind in (
        ".html.j2",
        "words.txt",
        "py.typed",
        "slo/chat.yaml",
        "locustfiles/capacity.py",
    ):
        assert [name for name in inside if name.endswith(kind)], kind


def test_wheel_contains_nothing_else(wheel: Path) -> None:
    inside = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0].partition("-")[0] for name in inside} == {"probe_ext"}
    assert not [name for name in inside if "__pycache__" in name or "/tests/" in name or name.endswith(".pyc")]
    assert [name for name in inside if name.endswith("dist-info/licenses/LICENSE")]
    assert not [name for name in inside if name.endswith((".c", ".h"))]


def test_a_wheel_has_the_c_extension_if_there_is_a_compiler(wheel: Path) -> None:
    extensions = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".so")]
    if sys.platform.startswith("linux") and shutil.which("cc"):
        assert extensions == ["probe_ext/client/wire/native/_reader.abi3.so"]
        assert "-cp311-abi3-linux_" in wheel.name
    else:
        assert extensions == []
        assert wheel.name.endswith("-py3-none-any.whl")


@pytest.mark.long
def test_a_wheel_is_built_without_a_compiler_and_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    environment = os.environ | {"CC": "false"}
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, env=environment)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "installed without the C extension" in built.stdout + built.stderr
    (pure,) = tmp_path.glob("probe_ext-*-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(pure).namelist() if name.endswith(".so")]


NOT_IN_THE_SDIST = {".ci/run", "action.yml"}  # of the repository itself


def test_sdist_contains_the_tracked_files_and_nothing_else(tmp_path: Path) -> None:
    """So everything can be built, tested and read from it."""
    if not (ROOT / ".git").exists():
        pytest.skip("NOT CHECKED: not a git clone")
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert built.returncode == 0, built.stdout + built.stderr
    (archive,) = tmp_path.glob("probe_ext-*.tar.gz")
    with tarfile.open(archive) as opened:
        inside = {name.partition("/")[2] for name in opened.getnames()}
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]  # also what is about to be committed
    tracked = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    present = {name for name in tracked if (ROOT / name).exists()}
    assert present - inside == NOT_IN_THE_SDIST
    assert inside - present == {"PKG-INFO"}


def test_the_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert probe_ext.__version__ == version
    pages = [ROOT / "docker-compose.yml", *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.yaml")]
    names = re.compile(r"probe-ext:(\d+\.\d+\.\d+)|probe_ext-(\d+\.\d+\.\d+)-")
    written = {found for page in pages for found in names.findall(page.read_text(encoding="utf-8"))}
    assert {one or other for one, other in written} == {version}


def test_list_run_and_report_work_from_any_folder(installed: Path, sim: str, tmp_path: Path) -> None:  # noqa: F811
    listed = probe(installed, tmp_path, "list")
    assert listed.returncode == 0, listed.stderr
    for path in (*(ROOT / "locustfiles").glob("*.py"), *(ROOT / "configs" / "slo").glob("*.yaml")):
        assert re.search(rf"^  {path.stem} +\S", listed.stdout, re.MULTILINE), path.stem

    levels = ("--levels", "2", "--hold", "2s", "--settle", "0s", "--min-replies", "1", "--max-tokens", "16")
    ran = probe(installed, tmp_path, "run", "capacity", "--host", sim, *levels)
    assert ran.returncode == 0, ran.stderr
    (out,) = (tmp_path / "reports" / "runs").iterdir()  # the default is relative to the working directory
    first = json.loads((out / "capacity.json").read_text())
    assert first["levels"][0]["replies"] >= 2
    assert str(out.relative_to(tmp_path)) in ran.stdout

    (out / "capacity.json").unlink()
    again = probe(installed, tmp_path, "report", out.relative_to(tmp_path), "--slo", "coding-assistant")
    assert again.returncode == 0, again.stderr
    assert json.loads((out / "capacity.json").read_text())["levels"][0]["replies"] == first["levels"][0]["replies"]


def test_a_copied_scenario_opens_in_the_web_ui(installed: Path, tmp_path: Path) -> None:
    assert probe(installed, tmp_path, "init", ".").returncode == 0
    port = free_port()
    line = [str(installed / "bin" / "probe"), "ui", "locustfiles/capacity.py", "--host", "http://127.0.0.1:9"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PROBE", "LOCUST", "COV"))}
    ui = subprocess.Popen([*line, "--web-port", str(port)], cwd=tmp_path, env=clean, stderr=subprocess.PIPE, text=True)
    try:
        assert ui.stderr is not None
        assert ui.stderr.readline() == f"probe: web UI at http://127.0.0.1:{port} (Ctrl-C ends it)\n"
        page = wait_for(lambda: get(f"http://127.0.0.1:{port}/"), "the web UI")
        assert b"http://127.0.0.1:9" in page
    finally:
        ui.send_signal(signal.SIGINT)
        ui.communicate(timeout=PATIENCE)


def get(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return bytes(answer.read())
    except urllib.error.URLError:
        return None


LOCK = (ROOT / "requirements.lock").read_text()
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)(.*)$")


def requirements() -> dict[str, str]:
    """Map each name to the rest of its line, continuation lines joined."""
    found = {}
    for line in LOCK.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            match = REQUIREMENT.match(line.strip())
            assert match, f"not a pinned requirement: {line[:80]}"
            found[canonical(match[1])] = match[3]
    return found


def test_lock_pins_every_requirement_by_hash_and_names_no_url() -> None:
    locked = requirements()
    assert len(locked) > 20
    assert [name for name, rest in locked.items() if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", rest)] == []
    assert "://" not in LOCK
    assert "--index" not in LOCK
    assert "--find-links" not in LOCK


def test_lock_contains_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {canonical(re.split(r"[<>=!~;\[ ]", text, maxsplit=1)[0]) for text in wanted}
    assert len(names) > 20
    assert names - set(requirements()) == set()


def test_every_imported_library_is_a_declared_dependency() -> None:
    """A transitive dependency may disappear with the next release of the library that needs it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {canonical(re.split(r"[<>=!~;\[ ]", text, maxsplit=1)[0]) for text in project["dependencies"]}
    # Import name to project; also names that are part of another library's public interface.
    project_of = {"yaml": "pyyaml", "urllib3": "requests", "flask": "locust", "markupsafe": "jinja2"}
    project_of |= {"multidict": "aiohttp", "yarl": "aiohttp"}
    imported = set()
    for path in (ROOT / "probe_ext").rglob("*.py"):
        imported |= set(re.findall(r"^\s*(?:from|import) ([a-zA-Z0-9_]+)", path.read_text(), re.MULTILINE))
    third_party = imported - set(sys.stdlib_module_names) - {"probe_ext"}
    third_party = {name for name in third_party if (Path(sysconfig.get_path("purelib")) / name).exists()}
    assert "locust" in third_party
    assert {canonical(project_of.get(name, name)) for name in third_party} - declared == set()
