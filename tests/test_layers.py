"""Imports point one way, and only one module reads the clock: the rules hold, and break when they are broken."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


def run(*command: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd, check=False, timeout=120)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and its rules in a place where they may be broken."""
    place = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "probe_ext", place / "probe_ext", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def contracts(place: Path) -> "subprocess.CompletedProcess[str]":
    return run(BIN / "lint-imports", "--no-cache", cwd=place)


def test_the_contracts_hold(copy: Path) -> None:
    result = contracts(copy)
    assert result.returncode == 0, result.stdout
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", result.stdout)


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("verdict/planted.py", "import pandas", "only report knows pandas, jinja2 and how to ask a Prometheus"),
        ("client/planted.py", "from probe_ext.target import urls", "imports point one way"),
        ("report/planted.py", "import locust", "only swarm knows Locust"),
        ("report/planted.py", "from probe_ext.swarm import locustfile_api", "imports point one way"),
        ("sim/planted.py", "from probe_ext.measure import clock", "the simulated server shares no code"),
        ("measure/planted.py", "import orjson", "measure stands on the standard library"),
        ("run/planted.py", "import gevent", "only swarm and the client know gevent"),
        ("measure/planted.py", "from probe_ext.run import tables", "imports point one way"),
        ("novelty/__init__.py", '"""A package that no layer names."""', "imports point one way"),
    ],
    ids=lambda value: value if value.endswith(".py") else "",
)
def test_a_planted_violation_is_refused(copy: Path, file: str, line: str, broken: str) -> None:
    planted = copy / "probe_ext" / file
    fresh = not planted.parent.exists()
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(f"{line}\n")
    try:
        result = contracts(copy)
    finally:
        shutil.rmtree(planted.parent) if fresh else planted.unlink()
    assert result.returncode != 0
    assert re.search(rf"^{re.escape(broken)}.* BROKEN$", result.stdout, re.MULTILINE)
    assert f"probe_ext.{planted.parent.name}" in result.stdout


def test_a_report_is_made_without_locust_or_gevent(tmp_path: Path) -> None:
    example = next((path.parent for path in sorted(ROOT.glob("reports/examples/*/run.json"))), None)
    assert example is not None, "no example run to be reported"
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
def test_a_light_command_loads_none_of_the_heavy_libraries(module: str, tmp_path: Path) -> None:
    heavy = {"locust", "gevent", "pandas"}
    program = f"import sys, {module}; print(sorted({{n.partition('.')[0] for n in sys.modules}} & {heavy}))"
    result = run(sys.executable, "-c", program, cwd=tmp_path)
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


_CLOCKS = ("time.time()", "time.time_ns()", "time.monotonic()", "time.perf_counter()", "datetime.datetime.now()")


@pytest.mark.parametrize("call", _CLOCKS)
def test_ruff_refuses_a_second_clock(copy: Path, call: str) -> None:
    module = call.partition(".")[0]
    planted = copy / "probe_ext" / "verdict" / "planted.py"
    planted.write_text(f'"""A clock of its own."""\n\nimport {module}\n\nNOW = {call}\n')
    try:
        result = run(BIN / "ruff", "check", "--no-cache", "--select", "TID251", planted, cwd=copy)
    finally:
        planted.unlink()
    assert result.returncode == 1
    assert "only probe_ext.measure.clock reads the clock" in result.stdout


def test_only_one_module_reads_the_clock(copy: Path) -> None:
    assert run(BIN / "ruff", "check", "--no-cache", "--select", "TID251", "probe_ext", cwd=copy).returncode == 0
    reading = re.compile(r"\btime\.(time|monotonic|perf_counter)(_ns)?\(|\bdatetime\.(now|today|utcnow)\(")
    found = [path for path in (ROOT / "probe_ext").rglob("*.py") if reading.search(path.read_text("utf-8"))]
    names = {path.relative_to(ROOT).as_posix() for path in found}
    mine = {"probe_ext/measure/clock.py"}
    # the simulator may share no code with us
    own = {"probe_ext/sim/serving/backend.py", "probe_ext/sim/calibration_server.py"}
    assert names - own == mine


def test_nothing_imports_data_or_tests() -> None:
    result = run(BIN / "ruff", "check", "--no-cache", "--select", "TID251", "probe_ext", "tests", "scripts", cwd=ROOT)
    assert result.returncode == 0, result.stdout
    wrong = re.compile(r"^\s*(from|import) (locustfiles|configs|reports|tests)\b", re.MULTILINE)
    assert not [path for path in (ROOT / "probe_ext").rglob("*.py") if wrong.search(path.read_text("utf-8"))]
