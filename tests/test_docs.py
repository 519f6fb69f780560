"""What is documented exists, and what exists is documented: in both directions, for everything with a name."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from probe_ext.cli import COMMANDS
from probe_ext.exit_codes import ExitCode
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import GapRow, ReplyRow, Row, ServerRow, UserRow, columns
from probe_ext.report import report_command
from probe_ext.report.inputs.prometheus_rows import Told
from probe_ext.report.sections.pauses import COLUMNS as PAUSE_COLUMNS
from probe_ext.run import directory
from probe_ext.settings.options import KEY_VARIABLE, OPTIONS, WEB_PASSWORD_VARIABLE
from probe_ext.settings.prometheus_access import AUTH_VARIABLE
from probe_ext.settings.slo import SloProfile, profile_names
from probe_ext.sim import sim_command
from probe_ext.sim.faults import KINDS
from probe_ext.sim.personality import personality_names
from probe_ext.swarm.commands import calibrate_command, worker_command
from probe_ext.swarm.master import calibration_store
from probe_ext.target.engine_metrics import ENGINES
from probe_ext.target.quantities import QUANTITIES
from probe_ext.verdict.diagnosis.diagnose import NAMES as RULE_NAMES

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BIN = Path(sys.executable).parent
PAGES = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "ARCHITECTURE.md")]
    + list((ROOT / "reports").glob("*.md"))
    + list((ROOT / "reports" / "examples").glob("*.md"))
    + list(DOCS.glob("*.md"))
)
SCHEMA = json.loads((ROOT / "probe_ext" / "verdict" / "values" / "capacity.schema.json").read_text(encoding="utf-8"))

_CODE = re.compile(r"`([^`\n]+)`")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")

Table = list[list[str]]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """What stands below a heading, up to the next heading of its rank or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", text(page), re.MULTILINE)
    assert found, f"{page}: no heading {heading!r}"
    below = text(page)[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", below, re.MULTILINE)
    return below[: end.start()] if end else below


def tables(page_part: str) -> list[Table]:
    """Every table's rows without its heading and rule; cells as they are written."""
    found: list[Table] = []
    for block in re.findall(r"(?:^\|.*\n?)+", page_part, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in block.splitlines()]
        found.append(rows[2:])
    return found


def names(rows: Iterable[list[str]], column: int = 0) -> list[str]:
    """The code in a column's cells, cell by cell."""
    return [name for row in rows for name in _CODE.findall(row[column])]


def documented(page: str, heading: str, which: int = 0) -> list[str]:
    """The names in the first column of a section's table."""
    listed = names(tables(section(page, heading))[which])
    assert len(listed) == len(set(listed)), f"{page}, {heading}: {listed} names something twice"
    return listed


def commands_of(module: Any) -> ArgumentParser:
    parser = ArgumentParser(add_help=False)
    module.add_arguments(parser)
    return parser


def flags_of(module: Any) -> dict[str, Any]:
    """A command's options with their defaults."""
    return {
        action.option_strings[0]: action.default for action in commands_of(module)._actions if action.option_strings
    }


# --- options, variables, commands, exit codes, targets ---


def _option_rows() -> Table:
    return [row for table in tables(text("docs/options.md")) for row in table]


def test_every_option_has_its_row_with_variable_and_default() -> None:
    written = {tuple(names([row], column)[0] for column in (0, 1)): row[2] for row in _option_rows()}
    true = {
        (o.flag, o.variable): "off" if o.default is False else f"`{o.default}`" if o.default else "–" for o in OPTIONS
    }
    assert written == true


def _compose_variables() -> dict[str, str]:
    """What docker-compose.yml asks of the environment, with its default."""
    return dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text("docker-compose.yml")))


def test_every_setting_of_the_containers_has_its_row() -> None:
    rows = tables(section("docs/containers.md", "Settings"))[0]
    written = {names([row], 0)[0]: names([row], 1)[0] for row in rows}
    assert written == _compose_variables()


def test_every_service_of_the_containers_has_its_row() -> None:
    services = re.findall(r"^  ([a-z]+):$", text("docker-compose.yml").partition("services:")[2], re.MULTILINE)
    volumes = {"reports", "models"}
    assert set(documented("docs/containers.md", "In containers")) == set(services) - volumes


def test_every_figure_for_prometheus_has_its_row() -> None:
    source = text("probe_ext/swarm/web/exporter.py")
    made = re.findall(r"(Counter|Histogram|GaugeMetricFamily)\(\s*\"(probe_[a-z_]+)\"", source)
    true = {f"{name}_total" if kind == "Counter" else name for kind, name in made}
    assert set(documented("docs/containers.md", "The load test's own figures")) == true


def test_a_variable_that_is_mentioned_exists() -> None:
    known = {KEY_VARIABLE, AUTH_VARIABLE, WEB_PASSWORD_VARIABLE, *(o.variable for o in OPTIONS), *_compose_variables()}
    for page in PAGES:
        mentioned = set(re.findall(r"\b(?:PROBE|OPENAI)_[A-Z_]+\b", page.read_text(encoding="utf-8")))
        assert mentioned <= known, f"{page.name}: {mentioned - known}"
    assert KEY_VARIABLE in set(_CODE.findall(section("docs/options.md", "API keys")))


def _locusts_own() -> set[str]:
    """Locust's options, asked of Locust in a process of its own: importing it here would patch this one."""
    said = subprocess.run([BIN / "locust", "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", said))


def test_a_flag_that_is_mentioned_exists() -> None:
    ours = (
        {o.flag for o in OPTIONS}
        | set(flags_of(report_command))
        | set(flags_of(sim_command))
        | set(flags_of(worker_command))
    )
    theirs = {"--help", "--version", "-k", "-m", "--metrics", "--parallel"}  # argparse, pytest, python, llama.cpp
    theirs |= {
        "--build",
        "--detach",
        "--scale",
        "--exit-code-from",
        "--profile",
        "-q",
        "-p",
        "-u",
        "-g",
    }  # Compose, shell
    theirs |= {"--filename", "--follow", "--from-env-file", "--tag"}  # kubectl, docker
    theirs |= {"--max-num-seqs"}  # vLLM
    theirs |= {"--minutes", "--lines"}  # scripts/swarm/soak.py
    known = ours | theirs | _locusts_own()
    for page in PAGES:
        code = chain(_CODE.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))), _fenced(page))
        said = {flag for piece in code for flag in re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", piece)}
        assert said <= known, f"{page.name}: {said - known}"


def _fenced(page: Path) -> Iterator[str]:
    for block in _FENCED.findall(page.read_text(encoding="utf-8")):
        yield from block.splitlines()[1:-1] if not block.startswith("```python") else []


def test_the_options_of_report_and_sim() -> None:
    assert set(documented("docs/reading-a-report.md", "Judging again")) == set(flags_of(report_command))
    rows = tables(section("docs/simulator.md", "The simulated server"))[0]
    true = {
        flag: f"`{default}`" if default not in (None, []) else "–" for flag, default in flags_of(sim_command).items()
    }
    assert {names([row])[0]: row[1] for row in rows} == true


def test_the_options_of_worker() -> None:
    rows = tables(text("docs/swarm.md"))[0]
    true = {flag: "–" if default is None else f"`{default}`" for flag, default in flags_of(worker_command).items()}
    assert {names([row])[0]: row[1] for row in rows} == true


def test_every_command_is_told_of_and_no_other() -> None:
    told = text("README.md") + "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    code = [
        *_CODE.findall(_FENCED.sub("", told)),
        *(line for block in _FENCED.findall(told) for line in block.split("\n")),
    ]
    used = {found for piece in code for found in re.findall(r"(?:^|[\s/])probe ([a-z]+)\b", piece)}
    assert used == set(COMMANDS)


def test_exit_codes() -> None:
    for page, heading in (("README.md", "Headless, in CI"), ("docs/ci.md", "Exit codes")):
        assert {int(row[0]) for row in tables(section(page, heading))[0]} == set(ExitCode)


def test_every_make_target() -> None:
    known = set(re.findall(r"^([a-z-]+):.*##", text("Makefile"), re.MULTILINE))
    assert set(documented("CONTRIBUTING.md", "Set-up")) == {f"make {target}" for target in known}
    for page in PAGES:
        code = chain(_CODE.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))), _fenced(page))
        used = {target for piece in code for target in re.findall(r"\bmake ([a-z-]+)", piece)}
        assert used <= known, f"{page.name}: make {used - known}"


# --- the run directory ---


@pytest.mark.parametrize(
    ("heading", "row_type"),
    [("requests.csv", ReplyRow), ("gaps.csv", GapRow), ("users.csv", UserRow), ("server.csv", ServerRow)],
)
def test_every_column(heading: str, row_type: type[Row]) -> None:
    assert tuple(documented("docs/run-directory.md", heading)) == columns(row_type)


def test_every_column_of_the_pauses() -> None:
    assert tuple(documented("docs/run-directory.md", "pauses.csv")) == PAUSE_COLUMNS


@pytest.fixture(scope="module")
def real_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as short as can be, with a worker of its own, on a fast simulated server."""
    out = tmp_path_factory.mktemp("docs") / "run"
    sim = [BIN / "probe", "sim", "--port", "0", "--speed", "20", "--metrics", "on"]
    server = subprocess.Popen(sim, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        host = server.stdout.readline().rpartition(" ")[2].strip()
        brief = ["--levels", "1", "--hold", "1s", "--settle", "0s", "--max-tokens", "16", "--processes", "1"]
        run = [BIN / "probe", "run", "capacity", "--host", host, "--out", out, *brief]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(out.parent))
            calibration_store.save(dict.fromkeys(calibrate_command.KEYS))
            ended = subprocess.run(run, capture_output=True, text=True, check=False, timeout=120)
        assert ended.returncode == 0, ended.stderr
    finally:
        server.terminate()
        server.wait()
    return out


def _files() -> list[str]:
    return documented("docs/run-directory.md", "Files")


def test_every_file_of_a_run(real_run: Path) -> None:
    patterns = [name for name in _files() if "*" in name]
    written = {next((p for p in patterns if Path(file.name).match(p)), file.name) for file in real_run.iterdir()}
    assert written == set(_files()) - {directory.SERVER_PROMETHEUS, directory.PROMETHEUS}  # nobody asked for these
    constants = {value for name, value in vars(directory).items() if name.isupper() and isinstance(value, str)}
    assert constants - {directory.LOCUST_PREFIX} <= set(_files())


def test_every_key_of_what_a_prometheus_told() -> None:
    top, server = tables(section("docs/run-directory.md", directory.PROMETHEUS))
    source = text("probe_ext/report/inputs/prometheus_import.py").partition("about = {")[2].partition("}\n")[0]
    assert names(top) == re.findall(r'^ +"(\w+)":', source, re.MULTILINE)
    assert names(server) == [field.name for field in fields(Told)]


def test_every_key_of_the_manifest(real_run: Path) -> None:
    manifest = json.loads((real_run / directory.MANIFEST).read_text(encoding="utf-8"))
    # Sections below `run.json` and `capacity.json` share names: take the first one's.
    part = text("docs/run-directory.md").split("## capacity.json")[0].split("## run.json")[1]
    top, *below = tables(part)
    headings = re.findall(r"^### (.+)$", part, re.MULTILINE)
    assert set(names(top)) == set(manifest)
    assert headings, "no sub-tables"
    for heading, table in zip(headings, below, strict=True):
        value = manifest[heading]
        entries = value if isinstance(value, list) else [value]
        assert entries, f"{heading}: the run has none to compare with"
        for entry in entries:
            assert set(names(table)) == set(entry), heading
    assert {key for key, value in manifest.items() if _has_keys(value)} - {"options", "profile", "findings"} == set(
        headings
    )
    assert set(manifest["options"]) == {o.name for o in OPTIONS}


def _has_keys(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def test_the_metrics_of_the_sketches(real_run: Path) -> None:
    lines = [json.loads(line) for line in (real_run / directory.SKETCHES).read_text(encoding="utf-8").splitlines()]
    rows = tables(section("docs/run-directory.md", "sketches.jsonl"))[0]
    written = {names([row])[0]: float(row[1].removesuffix(" s")) for row in rows}
    assert {line["metric"]: float(line["seconds"]) for line in lines} == written


def test_every_key_of_capacity_json() -> None:
    part = text("docs/run-directory.md").split("## capacity.json")[1]
    top, *below = tables(part)
    headings = re.findall(r"^### (.+)$", part, re.MULTILINE)
    written = dict(zip(headings, (set(names(table)) for table in below), strict=True))
    properties = SCHEMA["properties"]
    assert set(names(top)) == set(properties)
    assert written == {
        "levels": set(SCHEMA["$defs"]["level"]["properties"]),
        "questions": set(SCHEMA["$defs"]["question"]["properties"]),
        "cold_user": set(properties["cold_user"]["properties"]),
        "pauses": set(properties["pauses"]["properties"]),
        "goodput": set(properties["goodput"]["oneOf"][1]["properties"]),
        "team": set(properties["team"]["oneOf"][1]["properties"]),
        "cost": set(properties["cost"]["oneOf"][1]["properties"]),
        "climb": set(properties["climb"]["oneOf"][1]["properties"]),
        "reasoning": set(properties["reasoning"]["properties"]),
        "findings": set(SCHEMA["$defs"]["finding"]["properties"]),
        "diagnosis": set(properties["diagnosis"]["properties"]),
        "rules": set(SCHEMA["$defs"]["ruling"]["properties"]),
        "edge": set(properties["edge"]["properties"]),
        "forecasts": set(SCHEMA["$defs"]["forecast"]["properties"]),
    }


# --- words ---


def test_every_outcome() -> None:
    assert documented("docs/definitions.md", "Outcomes") == [outcome.value for outcome in Outcome]


def test_every_dimension() -> None:
    dimensions = documented("docs/definitions.md", "From a reply to a user")
    assert dimensions == SCHEMA["properties"]["questions"]["propertyNames"]["enum"]
    assert set(dimensions) - {"answer"} <= {*SloProfile.model_fields}


def test_the_terms_that_every_reader_needs() -> None:
    terms = {row[0].strip("`") for table in tables(text("docs/definitions.md")) for row in table}
    wanted = (
        "due sent headers first last end TTFT gap ITL TPOT served strained broken undecided unheard level holds fails"
    )
    wanted += " unproven capacity interval bracket goodput ramp preemption"
    assert set(wanted.split()) | {"decode rate", "silent pause", "longest gap", "prefix cache", "first word"} <= terms


def test_every_quantity_and_which_engine_tells_it() -> None:
    listed, engines = tables(text("docs/metrics.md"))
    written = [(names([row])[0], *row[1:4], row[4]) for row in listed]
    assert written == [(f"{q.name}", q.unit, q.kind, q.over, q.meaning) for q in QUANTITIES.values()]
    head = next(line for line in text("docs/metrics.md").splitlines() if line.startswith("| quantity | `"))
    assert _CODE.findall(head) == [engine.kind for engine in ENGINES]
    told = [{source.quantity for source in engine.sources} for engine in ENGINES]
    assert engines == [[f"`{name}`", *("●" if name in engine else "–" for engine in told)] for name in QUANTITIES]


def _checks() -> set[str]:
    """Names of findings: the first argument of `Finding(…)` and `_failed(…)`, or the value of a key `check`."""
    found = set()
    packages = ("verdict", "swarm", "server", "run")
    for path in chain(*((ROOT / "probe_ext" / package).glob("*.py") for package in packages)):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for scope in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            held = {
                node.targets[0].id: node.value.value
                for node in ast.walk(scope)
                if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
                and isinstance(node.value, ast.Constant)
            }  # fmt: skip
            found |= {_named(node, held) for node in ast.walk(scope)}
    return {str(name) for name in found if name is not None}


def _named(node: ast.AST, held: dict[str, Any]) -> Any:
    """The check that a node names; `held` are the function's own names for texts."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"Finding", "_failed"}:
        first = node.args[0] if node.args else None
        return held.get(first.id) if isinstance(first, ast.Name) else getattr(first, "value", None)
    if isinstance(node, ast.Dict):
        values = [v for k, v in zip(node.keys, node.values, strict=True) if _is_check(k)]
        return getattr(values[0], "value", None) if values else None
    return None


def _is_check(key: ast.expr | None) -> bool:
    return isinstance(key, ast.Constant) and key.value == "check"


def test_every_check() -> None:
    assert set(documented("docs/reading-a-report.md", "Checks")) == _checks()


def test_every_rule_of_the_diagnosis() -> None:
    rows = tables(section("docs/diagnosis.md", "The rules"))[0]
    assert names(rows) == list(RULE_NAMES) == SCHEMA["$defs"]["ruling"]["properties"]["rule"]["enum"]
    assert all(all(cell.strip("– ") for cell in row) for row in rows), "a cell is empty"


# --- the simulated server, and what comes with the package ---


def test_the_simulators_profiles_personalities_and_faults() -> None:
    assert set(documented("docs/simulator.md", "Profiles")) == set(sim_command.profile_names())
    assert set(documented("docs/simulator.md", "Personalities")) == set(personality_names())
    assert set(documented("docs/simulator.md", "Faults")) == set(KINDS)


def test_the_simulators_paths() -> None:
    served = set(re.findall(r'add_(?:get|post)\("([^"]+)"', text("probe_ext/sim/api/app.py")))
    assert set(re.findall(r"`(/[a-z0-9/]+)`", section("docs/simulator.md", "The simulated server"))) == served


def test_scenarios_and_slo_profiles() -> None:
    scenarios = {path.stem for path in (ROOT / "locustfiles").glob("*.py")}
    said = set(_CODE.findall(_FENCED.sub("", section("README.md", "Your own users"))))
    assert scenarios <= said
    everything = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert all(f"`{name}`" in everything for name in profile_names(ROOT / "configs" / "slo"))
    used = {*re.findall(r"probe run ([a-z]+)(?!\w|\.py)", everything)}
    assert used <= scenarios


def test_the_readmes_locustfile_uses_what_exists() -> None:
    block = next(iter(re.findall(r"^```python\n(.*?)^```", text("README.md"), re.MULTILINE | re.DOTALL)))
    tree = ast.parse(block)
    imported = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "probe_ext"
        for alias in node.names
    }  # fmt: skip
    exported = ast.literal_eval(re.search(r"__all__ = (\[.*\])", text("probe_ext/__init__.py"))[1])  # type: ignore[index]
    assert imported <= set(exported)
    called = set(re.findall(r"self\.(?:llm|prompts)\.(\w+)\(", block))
    defined = {
        node.name for name in ("llm", "prompt_source")
        for node in ast.walk(ast.parse(text(f"probe_ext/swarm/users/{name}.py")))
        if isinstance(node, ast.FunctionDef)
    }  # fmt: skip
    assert called
    assert called <= defined


# --- links, and what does not belong here ---


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for link in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert target.is_relative_to(ROOT), f"{page.name}: {link} leads out of the project"
        assert not anchor or anchor in _anchors(target), f"{page.name}: {link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_outside_the_project_is_mentioned(page: Path) -> None:
    said = page.read_text(encoding="utf-8")
    served = {"v1", "metrics", "version", "tokenize", "health", "probe", "work"}  # servers', ours, the image's
    rooted = re.findall(r"(?<![\w./:*`>)-])/([a-zA-Z_]\w*)/", said) + re.findall(r"`/([a-zA-Z_]\w*)", said)
    assert set(rooted) <= served, f"{page.name}: a path of one machine"
    assert not re.findall(r"\bissues? #?\d|(?<!\w)#\d+\b", said)
    hosts = set(re.findall(r"https?://([\w.:-]*\w)", said)) - {
        "your-server:8000",
        "llm.internal:8000",
        "gpu-box:8000",
        "sim:8000",
        "vllm:8000",
    }
    hosts -= {"prometheus:9090"}
    hosts = {host for host in hosts if not re.fullmatch(r"(localhost|127\.0\.0\.1)(:\d+)?", host)}
    names = set(re.findall(r"\b[\w.-]+\.(?:org|com|io|net|dev)\b", said))
    assert hosts | names <= {"locust.io", "semver.org", "host.docker.internal"}, f"{page.name}: {hosts | names}"


def test_the_house_names_modules_that_stand() -> None:
    said = text("ARCHITECTURE.md")
    packages = {path.name for path in (ROOT / "probe_ext").iterdir() if (path / "__init__.py").exists()}
    named = {
        (package, module) for package, module in re.findall(r"\b([a-z]+)\.([a-z]+)\b", said) if package in packages
    }
    for package, inside in re.findall(r"\b([a-z]+)\.\(([a-z, ]+)\)", said):
        named |= {(package, module) for module in inside.split(", ")}
    named -= {("run", "json"), ("server", "csv")}  # files of a run
    assert len(named) > 10
    missing = {pair for pair in named if not (ROOT / "probe_ext" / pair[0] / f"{pair[1]}.py").is_file()}
    assert not missing
    assert {name.strip("`") for name in names(tables(section("ARCHITECTURE.md", "The layers"))[0])} == packages


def test_every_dependency_has_its_line() -> None:
    wanted = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    listed = {name for row in tables(section("ARCHITECTURE.md", "Dependencies"))[0] for name in row[0].split(", ")}
    assert listed == {re.split(r"[><=]", line)[0] for line in wanted}


@pytest.mark.parametrize(("name", "width"), [("report", 1280), ("report-phone", 390), ("report-time", 1280)])
def test_the_pictures_are_small_and_of_the_right_width(name: str, width: int) -> None:
    picture = (DOCS / "images" / f"{name}.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(picture[16:20]) == width
    assert len(picture) < 200_000


def test_lines_are_not_longer_than_the_codes() -> None:
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= 128 or line.startswith(("|", "!", "**")), f"{page.name}:{number}"


def test_the_reader_of_tables_sees_what_is_missing() -> None:
    """The helper can fail: a table that lacks a name is told apart from one that has it."""
    part = "| a | b |\n|---|---|\n| `x` | 1 |\n| `y`, `z` | 2 |\n"
    assert names(tables(part)[0]) == ["x", "y", "z"]
    assert tables("no table") == []
    with pytest.raises(AssertionError, match="no heading"):
        section("README.md", "There is no such heading")


def test_option_fields_and_table_agree() -> None:
    from probe_ext.settings.options import Options  # noqa: PLC0415 - beside its only use

    assert [f.name for f in fields(Options)] == [o.name for o in OPTIONS]
