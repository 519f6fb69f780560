"""The import contracts and the single clock hold, and a planted violation of each rule is reported."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.tracing import LISTED

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def run(*command: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd, check=False, timeout=300)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its rules, to be broken."""
    shutil.copytree(ROOT / "probe_ext", tmp_path / "probe_ext", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(place: Path) -> "subprocess.CompletedProcess[str]":
    return run(BIN / "lint-imports", "--no-cache", cwd=place)


def test_contracts_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", result.stdout)


# Stated here as well, so that a contract cannot be dropped or weakened unnoticed.
FORBIDDEN_IMPORTS = [
    ("probe_ext.client", "probe_ext.target"),  # siblings in one layer
    ("probe_ext.measure", "probe_ext.run"),  # a higher layer
    ("probe_ext.access", "probe_ext.inspection"),
    ("probe_ext.inspection", "locust"),
    ("probe_ext.inspection", "probe_ext.swarm"),
    ("probe_ext.inspection", "jinja2"),
    ("probe_ext.live", "probe_ext.inspection"),
    ("probe_ext.page", "probe_ext.settings"),
    ("probe_ext.tls_trust", "probe_ext.client"),
    ("probe_ext.measure", "orjson"),
    ("probe_ext.report", "probe_ext.swarm"),
    ("probe_ext.report", "locust"),
    ("probe_ext.run", "gevent"),
    ("probe_ext.sim", "probe_ext.measure"),  # the simulated server shares no code with the client that it checks
    ("probe_ext.verdict", "pandas"),
]


USERS_OF_A_LIBRARY = {
    "locust": {"swarm"},
    "gevent": {"swarm", "inspection", "access", "client"},
    "pandas": {"report"},
    "jinja2": {"page"},
}


def test_each_contract_about_a_library_names_all_other_packages() -> None:
    """A new package may not use one of these libraries because a contract has forgotten it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    packages = {path.parent.name for path in (ROOT / "probe_ext").glob("*/__init__.py")}
    for library, users in USERS_OF_A_LIBRARY.items():
        (sources,) = (
            {name.removeprefix("probe_ext.") for name in contract["source_modules"]}
            for contract in contracts
            if contract.get("forbidden_modules", [])[:1] == [library] and contract["source_modules"][1:]
        )
        assert packages - sources == users, library


def forbidden_by(contract: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """An import that a contract of pyproject.toml forbids, for each of its containers: importer and imported module."""
    if contract["type"] == "forbidden":
        yield contract["source_modules"][0], contract["forbidden_modules"][0]
    for container in contract.get("containers", []):
        highest, lowest = (contract["layers"][n].partition(" | ")[0] for n in (0, -1))
        yield f"{container}.{lowest}", f"{container}.{highest}"


def plant(package: Path, name: str, line: str) -> str:
    """Add a line to a copy of a module, or a module to a package; return the module's name."""
    path = package.parent / name.replace(".", "/")
    if path.is_dir():
        name, path = f"{name}.planted", path / "planted"
    with path.with_suffix(".py").open("a") as file:
        file.write(f"{line}\n")
    return name


def test_every_contract_reports_its_planted_violation(copy: Path) -> None:
    contracts = tomllib.loads((copy / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    expected = []
    for importer, imported in {*FORBIDDEN_IMPORTS, *chain(*map(forbidden_by, contracts))}:
        expected.append((plant(copy / "probe_ext", importer, f"import {imported}"), imported))
    containers = [container for contract in contracts for container in contract.get("containers", [])]
    for container in containers:
        (copy / container.replace(".", "/") / "unlisted.py").touch()
    result = lint_imports(copy)
    assert result.returncode != 0
    assert f"Contracts: 0 kept, {len(contracts)} broken" in result.stdout, result.stdout
    for importer, imported in expected:
        assert re.search(rf"{re.escape(importer)} ->\s+{re.escape(imported)} \(l\.\d+", result.stdout), (
            importer,
            imported,
        )
    assert containers
    for container in containers:
        assert re.search(rf"not listed as layers:(\s+- \S+)*\s+- {re.escape(container)}\.unlisted\n", result.stdout)


def test_report_runs_without_locust_or_gevent(tmp_path: Path) -> None:
    example = next((path.parent for path in sorted(ROOT.glob("reports/examples/*/run.json"))), None)
    assert example is not None, "no example run"
    shutil.copytree(example, tmp_path / "run")
    program = (
        "import sys\n"
        "from probe_ext.cli import main\n"
        f"code = main(['report', {str(tmp_path / 'run')!r}, '--quiet'])\n"
        "print(code, sorted({name.partition('.')[0] for name in sys.modules} & {'locust', 'gevent', 'pandas'}))\n"
    )
    result = run(sys.executable, "-c", program, cwd=tmp_path)
    assert result.stdout.split(maxsplit=1)[1].strip() == "['pandas']", result.stdout + result.stderr
    assert result.stdout.split()[0] in {"0", "1", "3"}
    assert (tmp_path / "run" / "capacity.html").stat().st_size > 1000


@pytest.mark.parametrize("module", ["probe_ext", "probe_ext.cli", "probe_ext.listing", "probe_ext.sim.sim_command"])
def test_light_module_imports_no_heavy_library(module: str, tmp_path: Path) -> None:
    heavy = {"locust", "gevent", "pandas"}
    program = f"import sys, {module}; print(sorted({{n.partition('.')[0] for n in sys.modules}} & {heavy}))"
    result = run(sys.executable, "-c", program, cwd=tmp_path)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


CLOCK_CALLS = ("time.time()", "time.time_ns()", "time.monotonic()", "time.perf_counter()", "datetime.datetime.now()")


def test_ruff_reports_every_second_clock(copy: Path) -> None:
    planted = copy / "probe_ext" / "verdict" / "planted.py"
    planted.write_text("import datetime\nimport time\n" + "".join(f"{call}\n" for call in CLOCK_CALLS))
    result = run(
        BIN / "ruff", "check", "--no-cache", "--select", "TID251", "--output-format", "concise", planted, cwd=copy
    )
    assert result.returncode == 1
    lines = [line for line in result.stdout.splitlines() if "only probe_ext.measure.clock reads the clock" in line]
    assert [re.search(r"planted\.py:(\d+)", line)[1] for line in lines] == ["3", "4", "5", "6", "7"]  # type: ignore[index]


def test_one_module_reads_the_clock() -> None:
    reading = re.compile(r"\btime\.(time|monotonic|perf_counter)(_ns)?\(|\bdatetime\.(now|today|utcnow)\(")
    found = [path for path in (ROOT / "probe_ext").rglob("*.py") if reading.search(path.read_text("utf-8"))]
    names = {path.relative_to(ROOT).as_posix() for path in found}
    # The simulator shares no code with the client.
    simulator = {"probe_ext/sim/serving/backend.py", "probe_ext/sim/calibration_server.py"}
    assert names - simulator == {"probe_ext/measure/clock.py"}


def test_nothing_imports_data_or_tests() -> None:
    result = run(BIN / "ruff", "check", "--no-cache", "--select", "TID251", "probe_ext", "tests", "scripts", cwd=ROOT)
    assert result.returncode == 0, result.stdout
    wrong = re.compile(r"^\s*(from|import) (locustfiles|configs|reports|tests)\b", re.MULTILINE)
    assert not [path for path in (ROOT / "probe_ext").rglob("*.py") if wrong.search(path.read_text("utf-8"))]


MAX_FILES_IN_FOLDER, MAX_FUNCTION_LINES = 15, 60
SOURCES = [path for folder in ("probe_ext", "scripts", "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")]
MODULES = [path for path in (ROOT / "probe_ext").rglob("*.py") if path.name != "__init__.py"]


def test_folders_are_small_and_every_module_has_a_name_of_its_own() -> None:
    files = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert not [n for n in files.items() if n[1] > MAX_FILES_IN_FOLDER]
    assert not [n for n in Counter(path.name for path in MODULES).items() if n[1] > 1]


def test_each_untraced_test_exists() -> None:
    """Renamed, it would be traced again, which costs time and shows nothing."""
    assert LISTED
    names = [listed.split("::") for listed in LISTED]
    assert not [name for file, *_, name in names if f"def {name}(" not in (ROOT / file).read_text("utf-8")]


@pytest.mark.untraced
def test_functions_are_short() -> None:
    functions = (
        (path.name, node.name, (node.end_lineno or 0) - node.lineno + 1)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert not [function for function in functions if function[2] > MAX_FUNCTION_LINES]
