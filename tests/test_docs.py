"""Documentation and code name the same options, columns, keys, exit codes and targets, in both directions."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

import probe_ext
from probe_ext.cli import COMMANDS
from probe_ext.client.wire.native.native_extension import NATIVE_VARIABLE
from probe_ext.client.wire.portable_switch import PORTABLE_VARIABLE
from probe_ext.exit_codes import ExitCode
from probe_ext.inspection.check_result import TITLES
from probe_ext.inspection.doctor import doctor_command
from probe_ext.inspection.doctor.examination_output import as_json
from probe_ext.inspection.doctor.examine import Examination
from probe_ext.inspection.machine import calibration_store
from probe_ext.inspection.scout import scout_command
from probe_ext.inspection.scout.board_view import document
from probe_ext.inspection.scout.cheats import Sign, Suspicion
from probe_ext.inspection.scout.exposure import OpenPage
from probe_ext.inspection.scout.leaderboard import State, ranked
from probe_ext.inspection.scout.rolling_window import Outage, RollingWindow
from probe_ext.inspection.warmup import warmup_command
from probe_ext.measure.findings import FINDING_NAMES
from probe_ext.measure.outcome import Outcome
from probe_ext.measure.table_rows import GapRow, GpuRow, ReplyRow, Row, ServerRow, UserRow, columns
from probe_ext.report import compare_command, plan_command, report_command
from probe_ext.report.inputs import prometheus_import
from probe_ext.report.outputs.capacity_schema import capacity_schema
from probe_ext.report.sections.pauses import CSV_COLUMNS as PAUSE_COLUMNS
from probe_ext.run import directory, manifest
from probe_ext.settings.options import OPTIONS
from probe_ext.settings.prometheus_access import AUTH_VARIABLE, PrometheusSource
from probe_ext.settings.secrets import API_KEY_VARIABLE, HOSTS_VARIABLE, SWARM_TOKEN_VARIABLE, WEB_PASSWORD_VARIABLE
from probe_ext.settings.slo import SloProfile, profile_names
from probe_ext.sim import sim_command
from probe_ext.sim.api.app import Server
from probe_ext.sim.faults import KINDS
from probe_ext.sim.personality import personality_names
from probe_ext.sim.profile import load_profile
from probe_ext.sim.serving.backend import ServerOptions
from probe_ext.swarm.commands import calibrate_command, worker_command
from probe_ext.swarm.master.open_stream import OpenStream
from probe_ext.tap import tap_command
from probe_ext.target.gpu.exporters import EXPORTERS
from probe_ext.target.gpu.gpu_quantities import GPU_QUANTITIES
from probe_ext.target.metrics.engine_metrics import ENGINES
from probe_ext.target.metrics.quantities import QUANTITIES
from probe_ext.tls_trust import PASSPHRASE_VARIABLE
from probe_ext.verdict.values.ruling_types import RULE_NAMES
from probe_ext.workload.agent_kind import Agent
from probe_ext.workload.arrival_times import FORMS as ARRIVAL_FORMS
from probe_ext.workload.arrival_times import ArrivalForm
from probe_ext.workload.distribution_forms import Exponential, Lognormal, Normal
from probe_ext.workload.read_distribution import FORMS
from probe_ext.workload.user_kind import PromptSource, SystemPrompt, UserKind
from probe_ext.workload.workload_file import Workload, parse_workload, read_workload, workload_names
from tests.e2e import loaded
from tests.report import prometheus_fake

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BIN = Path(sys.executable).parent
PAGES = sorted(
    [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "ARCHITECTURE.md")]
    + list((ROOT / "reports").glob("*.md"))
    + list((ROOT / "reports" / "examples").glob("*.md"))
    + list(DOCS.rglob("*.md"))
)
SCHEMA = capacity_schema()

_CODE = re.compile(r"`([^`\n]+)`")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")

_MADE_BY_MAKE = {
    *("reports/study/", "reports/seeds/", "reports/seeds/comparisons/", "reports/coding/", "reports/gauntlet/"),
    "build/site",
}  # fmt: skip

Table = list[list[str]]


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next heading of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", text(page), re.MULTILINE)
    assert found, f"{page}: no heading {heading!r}"
    below = text(page)[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", below, re.MULTILINE)
    return below[: end.start()] if end else below


def page_with(folder: str, heading: str) -> str:
    """Return the page below a folder that has a heading."""
    (page,) = [page for page in (ROOT / folder).glob("*.md") if f"\n## {heading}\n" in page.read_text(encoding="utf-8")]
    return str(page.relative_to(ROOT))


def tables(page_part: str) -> list[Table]:
    """Return the rows of every table, without header and rule, as written."""
    found: list[Table] = []
    for block in re.findall(r"(?:^\|.*\n?)+", page_part, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in block.splitlines()]
        found.append(rows[2:])
    return found


def names(rows: Iterable[list[str]], column: int = 0) -> list[str]:
    """Return the code spans in a column."""
    return [name for row in rows for name in _CODE.findall(row[column])]


def documented(page: str, heading: str, which: int = 0) -> list[str]:
    """Return the names in the first column of a section's table."""
    listed = names(tables(section(page, heading))[which])
    assert len(listed) == len(set(listed)), f"{page}, {heading}: a name occurs twice in {listed}"
    return listed


def parser_of(module: Any) -> ArgumentParser:
    parser = ArgumentParser(add_help=False)
    module.add_arguments(parser)
    return parser


def flags_of(module: Any) -> dict[str, Any]:
    """Return a command's options with their defaults."""
    return {action.option_strings[0]: action.default for action in parser_of(module)._actions if action.option_strings}


_ASK_LOCUST = """
import json
from types import SimpleNamespace
from locust.argument_parser import get_parser
from probe_ext.swarm.users.llm import Llm
from probe_ext.access.prompt_source import Prompts
from probe_ext.swarm.web.exporter import Exporter
runner = SimpleNamespace(user_count=1, target_user_count=1, clients={})
lines = Exporter(SimpleNamespace(runner=runner)).page().decode().splitlines()
print(json.dumps({
    "flags": [flag for action in get_parser()._actions for flag in action.option_strings],
    "metrics": [line.split()[2] for line in lines if line.startswith("# TYPE") and not line.endswith("_created gauge")],
    "llm": dir(Llm),
    "prompts": dir(Prompts),
}))
"""


@pytest.fixture(scope="module")
def locust_names() -> dict[str, set[str]]:
    """Names that need Locust, which would monkey-patch this process: its flags, our metrics, a user's methods."""
    asked = subprocess.run([sys.executable, "-c", _ASK_LOCUST], capture_output=True, text=True, check=True)
    return {kind: set(found) for kind, found in json.loads(asked.stdout).items()}


# --- options, variables, commands, exit codes, targets ---


def _option_rows() -> Table:
    return [
        row for page in (DOCS / "options").glob("*.md") for table in tables(page.read_text("utf-8")) for row in table
    ]


def test_options_are_listed_with_the_page_that_explains_them() -> None:
    rows = [row for row in tables(text("docs/options.md"))[0] if _LINK.findall(row[2])]
    for row in rows:
        explained = names(chain(*tables(text(f"docs/{_LINK.findall(row[2])[0]}")))) if "`--" in row[1] else []
        assert sorted(explained) == sorted(names([row], 1)), row[2]


def test_options_with_variable_and_default() -> None:
    written = {tuple(names([row], column)[0] for column in (0, 1)): row[2] for row in _option_rows()}
    true = {
        (o.flag, o.variable): "off" if o.default is False else f"`{o.default}`" if o.default else "–" for o in OPTIONS
    }
    assert written == true


def _compose_variables() -> dict[str, str]:
    """Return the environment variables of docker-compose.yml with their defaults."""
    return dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text("docker-compose.yml")))


def test_settings_of_the_containers() -> None:
    rows = tables(section("docs/containers.md", "Settings"))[0]
    written = {names([row], 0)[0]: names([row], 1)[0] for row in rows}
    assert written == _compose_variables()


def test_services_of_the_containers() -> None:
    services = yaml.safe_load(text("docker-compose.yml"))["services"]
    assert set(documented("docs/containers.md", "In containers")) == set(services)


def test_metrics_of_the_load_test(locust_names: dict[str, set[str]]) -> None:
    assert set(documented("docs/containers.md", "The load test's own figures")) == locust_names["metrics"]


def test_mentioned_variables_exist() -> None:
    known = {
        API_KEY_VARIABLE,
        AUTH_VARIABLE,
        WEB_PASSWORD_VARIABLE,
        SWARM_TOKEN_VARIABLE,
        HOSTS_VARIABLE,
        PORTABLE_VARIABLE,
        NATIVE_VARIABLE,
        PASSPHRASE_VARIABLE,
        *(o.variable for o in OPTIONS),
        *_compose_variables(),
    }
    for page in PAGES:
        mentioned = set(re.findall(r"\b(?:PROBE|OPENAI)_[A-Z_]+\b", page.read_text(encoding="utf-8")))
        assert mentioned <= known, f"{page.name}: {mentioned - known}"
    assert API_KEY_VARIABLE in set(_CODE.findall(text("docs/options/secrets.md")))


# Flags of pytest, Python, pip, Compose, kubectl, Docker, vLLM, llama.cpp and of our scripts.
FOREIGN_FLAGS = {
    *("-g", "-k", "-m", "-p", "-q", "-u", "--build", "--detach", "--exit-code-from", "--filename", "--follow"),
    "--enable-per-request-metrics",
    *(
        "--constraint",
        "--form",
        "--from-env-file",
        "--lines",
        "--live",
        "--max-num-seqs",
        "--metrics",
        "--minutes",
        "--parallel",
        "--profile",
        "--scale",
    ),
    *("--tag", "--require-hashes", "--no-deps"),
    *("-n", "--enable-auto-tool-choice", "--enable-prompt-tokens-details", "--tool-call-parser"),
}


def test_mentioned_flags_exist(locust_names: dict[str, set[str]]) -> None:
    modules = (
        report_command,
        compare_command,
        plan_command,
        sim_command,
        worker_command,
        doctor_command,
        warmup_command,
        scout_command,
        tap_command,
    )
    ours = {o.flag for o in OPTIONS} | {flag for module in modules for flag in flags_of(module)}
    known = ours | {"--help", "--version"} | FOREIGN_FLAGS | locust_names["flags"]
    for page in PAGES:
        code = chain(_CODE.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))), _fenced(page))
        said = {flag for piece in code for flag in re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", piece)}
        assert said <= known, f"{page.name}: {said - known}"


def _fenced(page: Path) -> Iterator[str]:
    for block in _FENCED.findall(page.read_text(encoding="utf-8")):
        yield from block.splitlines()[1:-1] if not block.startswith("```python") else []


def test_options_of_report_and_sim() -> None:
    assert set(documented("docs/reading-a-report.md", "Judging again")) == set(flags_of(report_command))
    rows = tables(section("docs/simulator.md", "The simulated server"))[0]
    true = {
        flag: f"`{default}`" if default not in (None, []) else "–" for flag, default in flags_of(sim_command).items()
    }
    assert {names([row])[0]: row[1] for row in rows} == true


def test_options_of_worker() -> None:
    rows = tables(text("docs/swarm.md"))[0]
    true = {flag: "–" if default is None else f"`{default}`" for flag, default in flags_of(worker_command).items()}
    assert {names([row])[0]: row[1] for row in rows} == true


@pytest.mark.parametrize(
    ("page", "heading", "module"),
    [
        ("docs/doctor.md", "Is this server fit for a load test?", doctor_command),
        ("docs/warm-up.md", "Warming a server up", warmup_command),
        ("docs/scout.md", "Comparing servers", scout_command),
        ("docs/tap.md", "Recording traffic", tap_command),
    ],
)
def test_options_of_doctor_and_warmup(page: str, heading: str, module: Any) -> None:
    rows = tables(section(page, heading))[0]
    true = {
        flag: "off" if default is False else "–" if default is None else f"`{default}`"
        for flag, default in flags_of(module).items()
    }
    written = {flag: row[1] for row in rows for flag in names([row])}
    of_a_run = {option.flag for option in OPTIONS}
    assert {flag: "as in a run" if flag in of_a_run else default for flag, default in true.items()} == written


def test_checks_of_the_doctor() -> None:
    assert documented("docs/doctor.md", "Checks") == list(TITLES)


def test_keys_of_the_doctors_document() -> None:
    server = SimpleNamespace(url="u", kind="k", version="v", model="m", max_model_len=1)
    plan = SimpleNamespace(users=1, input_tokens=1, max_tokens=1, seconds=1.0)
    written = json.loads(as_json(Examination(server, plan, (), 0.0, 1.0, True)))  # type: ignore[arg-type]
    rows = tables(section("docs/doctor.md", "The JSON document"))[0]
    assert names(rows) == list(written)
    assert names(rows, 1)[:4] == list(written["server"])


def test_keys_of_the_scouts_document() -> None:
    state = State("u", None, (OpenPage("/p", "", False),), False, RollingWindow(1.0).figures(), None,
                  (Outage(0.0, None, None),), Suspicion((Sign("n", "e"),), ()))  # fmt: skip
    (server,) = document(ranked([state]), str, 1.0)["servers"]
    top, configured, figures = tables(section("docs/scout/json.md", "The document for programs"))
    assert names(top) == list(server)
    assert names(configured) == list(server["configuration"])
    assert names(figures) == list(server["figures"])


def test_commands() -> None:
    told = text("README.md") + "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    code = [
        *_CODE.findall(_FENCED.sub("", told)),
        *(line for block in _FENCED.findall(told) for line in block.split("\n")),
    ]
    used = {found for piece in code for found in re.findall(r"(?:^|[\s/])probe ([a-z]+)\b", piece)}
    assert used == set(COMMANDS)


def test_exit_codes() -> None:
    for page, heading in (
        ("docs/doctor.md", "Exit codes of the doctor"),
        ("docs/warm-up.md", "Exit codes of the warm-up"),
        ("docs/ways-to-run.md", "Headless, in CI"),
        ("docs/ci.md", "Exit codes"),
    ):
        assert {int(row[0]) for row in tables(section(page, heading))[0]} == set(ExitCode)


def test_make_targets() -> None:
    known = set(re.findall(r"^([a-z-]+):.*##", text("Makefile"), re.MULTILINE))
    assert set(documented("CONTRIBUTING.md", "Set-up")) == {f"make {target}" for target in known}
    for page in PAGES:
        code = chain(_CODE.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))), _fenced(page))
        used = {target for piece in code for target in re.findall(r"\bmake ([a-z-]+)", piece)}
        assert used <= known, f"{page.name}: make {used - known}"


# --- the run directory ---


@pytest.mark.parametrize(
    ("heading", "row_type"),
    [
        ("requests.csv", ReplyRow),
        ("gaps.csv", GapRow),
        ("users.csv", UserRow),
        ("server.csv", ServerRow),
        ("gpu.csv", GpuRow),
    ],
)
def test_columns(heading: str, row_type: type[Row]) -> None:
    assert tuple(documented(page_with("docs/run-directory", heading), heading)) == columns(row_type)


def test_columns_of_pauses() -> None:
    assert tuple(documented("docs/run-directory/server.md", "pauses.csv")) == PAUSE_COLUMNS


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
            ended = loaded.ask(list(map(str, run)), os.environ)
        assert ended.returncode == 0, ended.stderr
    finally:
        server.terminate()
        server.wait()
    return out


def _files() -> list[str]:
    return documented("docs/run-directory.md", "Files")


def test_files_of_a_run(real_run: Path) -> None:
    patterns = [name for name in _files() if "*" in name]
    written = {next((p for p in patterns if Path(file.name).match(p)), file.name) for file in real_run.iterdir()}
    assert written == set(_files()) - {
        directory.SERVER_PROMETHEUS,
        directory.PROMETHEUS,
        directory.GPU,
        directory.SERVERS,
        directory.SERVERS_JSON,
    }  # not requested
    constants = {value for name, value in vars(directory).items() if name.isupper() and isinstance(value, str)}
    assert constants - {directory.LOCUST_PREFIX, *directory._OTHER_OUTPUTS} <= set(_files())


def test_keys_of_prometheus_json(real_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(real_run, tmp_path / "run"))
    started = manifest.read(run)["started_unix"]
    labels = {"__name__": "vllm:num_requests_running", "instance": "gpu:8000", "model_name": "m", "engine": "0"}
    samples = [(started + second / 4, 1.0) for second in range(-40, 400)]
    with prometheus_fake.serving(prometheus_fake.Fake([(labels, samples)], now=started)) as fake:
        prometheus_import.read(run, manifest.read(run), PrometheusSource(fake.url))
    written = json.loads((run / directory.PROMETHEUS).read_text(encoding="utf-8"))
    top, server = tables(section("docs/run-directory/server.md", directory.PROMETHEUS))
    assert names(top) == list(written)
    assert names(server) == list(written["servers"][0])


def test_keys_of_the_manifest(real_run: Path) -> None:
    manifest = json.loads((real_run / directory.MANIFEST).read_text(encoding="utf-8"))
    assert manifest["arrivals"] is None, "of users who wait for replies"
    manifest["arrivals"] = OpenStream(ArrivalForm("gamma", 2.0), 1, 10.0, lambda: 0.0).as_json()
    part = text("docs/run-json.md")
    top, *below = tables(part)
    headings = re.findall(r"^## (.+)$", part, re.MULTILINE)
    assert set(names(top)) == set(manifest)
    assert headings, "no sub-tables"
    for heading, table in zip(headings, below, strict=True):
        value = manifest[heading]
        entries = value if isinstance(value, list) else [value]
        assert entries, f"{heading}: empty in this run"
        for entry in entries:
            assert set(names(table)) == set(entry), heading
    assert {key for key, value in manifest.items() if _has_keys(value)} - {"options", "profile", "findings"} == set(
        headings
    )
    assert set(manifest["options"]) == {o.name for o in OPTIONS}


def _has_keys(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def test_metrics_of_the_sketches(real_run: Path) -> None:
    lines = [json.loads(line) for line in (real_run / directory.SKETCHES).read_text(encoding="utf-8").splitlines()]
    rows = tables(section("docs/run-directory.md", "sketches.jsonl"))[0]
    written = {names([row])[0]: float(row[1].removesuffix(" s")) for row in rows}
    assert {line["metric"]: float(line["seconds"]) for line in lines} == written


def test_keys_of_capacity_json() -> None:
    top, pages = tables(text("docs/capacity-json.md"))
    assert set(names(top)) == set(SCHEMA["properties"])
    written = {}
    for row in pages:
        part = text(f"docs/{_LINK.findall(row[0])[0]}")
        assert names([row], 1) == re.findall(r"^## (.+)$", part, re.MULTILINE)
        written |= dict(zip(names([row], 1), (set(names(table)) for table in tables(part)), strict=True))
    sections = {name: _object_keys(key) for name, key in SCHEMA["properties"].items()}
    sections |= {name: _object_keys(SCHEMA["$defs"][of]["properties"][name])
                 for name, of in (("worse_group", "LevelResult"), ("others", "LevelResult"), ("rules", "Diagnosis"),
                                  ("forecasts", "KvHeadroom"), ("shared", "GroupCapacity"),
                                  ("by_level", "GpuUse"), ("moments", "Rolling"), ("outages", "Rolling"),
                                  ("classes", "TtftByLength"))}  # fmt: skip
    assert written == {name: keys for name, keys in sections.items() if keys}


def _object_keys(schema: dict[str, Any]) -> set[str]:
    """Return the keys of the objects that a value is, or holds as a list or by name; empty if there are none."""
    inner = [*schema.get("oneOf", []), *(schema[part] for part in ("items", "additionalProperties") if part in schema)]
    reference = next((part["$ref"] for part in (schema, *inner) if isinstance(part, dict) and "$ref" in part), None)
    return set(SCHEMA["$defs"][reference.rpartition("/")[2]]["properties"]) if reference else set()


# --- terms ---


def test_outcomes() -> None:
    assert documented("docs/outcomes.md", "How a reply ends") == [outcome.value for outcome in Outcome]


def test_dimensions() -> None:
    dimensions = documented("docs/judging.md", "From a reply to a user")
    assert dimensions == SCHEMA["properties"]["dimensions"]["propertyNames"]["enum"]
    assert set(dimensions) - {"answer"} <= {*SloProfile.model_fields}


def test_terms_that_every_reader_needs() -> None:
    pages = "\n".join(text(f"docs/{name}.md") for name in ("definitions", "timing", "judging"))
    terms = {row[0].strip("`") for table in tables(pages) for row in table}
    wanted = "due sent headers first last end TTFT gap ITL TPOT served strained broken level holds fails"
    wanted += " unproven capacity interval bracket goodput ramp preemption"
    assert set(wanted.split()) | {"decode rate", "silent pause", "longest gap", "prefix cache", "first word"} <= terms


def test_quantities_by_engine() -> None:
    (listed,), (engines,) = tables(text("docs/metrics.md")), tables(text("docs/metrics/engines.md"))
    written = [(names([row])[0], *row[1:4], row[4]) for row in listed]
    assert written == [(f"{q.name}", q.unit, q.kind, q.over, q.meaning) for q in QUANTITIES.values()]
    head = next(line for line in text("docs/metrics/engines.md").splitlines() if line.startswith("| quantity | `"))
    assert _CODE.findall(head) == [engine.kind for engine in ENGINES]
    told = [{source.quantity for source in engine.sources} for engine in ENGINES]
    assert engines == [[f"`{name}`", *("●" if name in engine else "–" for engine in told)] for name in QUANTITIES]


def test_checks() -> None:
    rows = [row for table in tables(text("docs/checks.md")) for row in table]
    assert sorted(names([row[:1] for row in rows])) == sorted(FINDING_NAMES)
    assert all(len(row) == 3 and row[1] and row[2] for row in rows), "a check without advice"


def test_help_by_symptom_leads_on() -> None:
    """Every ending of a reply that is a failure is a symptom there, and the checks are one link away."""
    page = text("docs/troubleshooting.md")
    listed = documented("docs/troubleshooting.md", "Replies break")
    assert set(listed) == {outcome.value for outcome in Outcome} - {"complete", "ended_by_us"}
    assert "(checks.md)" in page
    assert "(diagnosis.md)" in page


def test_rules_of_the_diagnosis() -> None:
    meanings, conditions = tables(section("docs/diagnosis.md", "The rules"))
    for rows in (meanings, conditions):
        assert (
            names([row[:1] for row in rows])
            == list(RULE_NAMES)
            == SCHEMA["$defs"]["Ruling"]["properties"]["rule"]["enum"]
        )
        assert all(all(cell.strip("– ") for cell in row) for row in rows), "a cell is empty"


def test_gpu_quantities_by_exporter() -> None:
    listed, exporters = tables(text("docs/gpu-metrics.md"))
    assert [(names([row])[0], *row[1:]) for row in listed] == [
        (q.name, q.unit, q.kind, q.meaning) for q in GPU_QUANTITIES.values()
    ]
    told = [{source.quantity for source in exporter.sources} for exporter in EXPORTERS]
    assert exporters == [[f"`{name}`", *("●" if name in one else "–" for one in told)] for name in GPU_QUANTITIES]


# --- the simulated server, and what comes with the package ---


def test_simulator_profiles_personalities_and_faults() -> None:
    assert set(documented("docs/simulator.md", "Profiles")) == set(sim_command.profile_names())
    assert set(documented("docs/simulator/personalities.md", "Personalities")) == set(personality_names())
    assert set(documented("docs/simulator/personalities.md", "Faults")) == set(KINDS)


def test_simulator_paths() -> None:
    simulator = Server(ServerOptions(profile=load_profile("demo"))).application()
    served = {resource.canonical for resource in simulator.router.resources()}
    assert set(re.findall(r"`(/[a-z0-9/]+)`", section("docs/simulator.md", "The simulated server"))) == served


def test_keys_and_forms_of_workloads() -> None:
    shipped = tables(text("docs/workloads.md"))[0]
    assert names(shipped) == sorted(
        names(shipped), key=["chat", "coding", "coding-agents", "rag", "batch-beside-chat"].index
    )
    assert {names([row])[0]: row[1] for row in shipped} == {
        name: read_workload(name).question for name in workload_names()
    }
    top, kind, prompts, system = tables(text("docs/workloads/file.md"))
    (agent,), (forms,) = (tables(text(f"docs/workloads/{page}.md")) for page in ("agents", "distributions"))
    assert names(top) == list(Workload.model_fields)
    assert names(kind) == list(UserKind.model_fields)
    assert names(prompts) == list(PromptSource.model_fields)
    assert names(system) == [*SystemPrompt.model_fields, "file"]
    assert names(agent) == list(Agent.model_fields)
    assert names(forms) == list(FORMS)
    parameters = {names([row])[0]: set(re.findall(r"`(\w+)`", row[1])) for row in forms}
    for form in (Normal, Lognormal, Exponential):
        assert parameters[form.name] == set(form.parameter_names())


def test_workloads_in_the_documentation_are_valid() -> None:
    pages = [text(f"docs/workloads{page}.md") for page in ("", "/file", "/agents", "/arrivals")]
    first, block, agents, *arrivals = re.findall(r"^```yaml\n(.*?)^```", "".join(pages), re.MULTILINE | re.DOTALL)
    forms = [parse_workload({"kinds": [{"name": "a"}], **yaml.safe_load(part)}, "docs", ROOT) for part in arrivals]
    assert [one.arrivals.form for one in forms] == ["gamma", "series"]
    assert all(kind.agent for kind in parse_workload(yaml.safe_load(agents), "docs", ROOT).kinds)
    assert documented("docs/workloads/arrivals.md", "Arrivals") == ["users", *ARRIVAL_FORMS, "series", "trace"]
    for shown in (first, block):
        assert [kind.name for kind in parse_workload(yaml.safe_load(shown), "docs", ROOT).kinds] == ["chat", "review"]
    page = text("docs/workloads/locustfile.md")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    made: dict[str, Any] = {}
    exec(code.replace("from probe_ext import WorkloadUser", "class WorkloadUser: pass"), made)
    composed = parse_workload(made["Team"].workload, "Team.workload", ROOT)
    assert [kind.name for kind in composed.kinds] == ["chat", "review-500", "review-1000", "review-2000"]
    assert round(sum(share or 0 for share in composed.shares.values()), 9) == 1


def test_scenarios_and_slo_profiles() -> None:
    scenarios = {path.stem for path in (ROOT / "locustfiles").glob("*.py")}
    said = set(_CODE.findall(section("docs/scenarios.md", "Scenarios")))
    assert scenarios <= said
    everything = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert all(f"`{name}`" in everything for name in profile_names(ROOT / "configs" / "slo"))
    used = {*re.findall(r"probe run ([a-z]+)(?!\w|\.py)", everything)}
    assert used <= scenarios


def test_locustfile_of_the_readme_uses_existing_names(locust_names: dict[str, set[str]]) -> None:
    block = next(iter(re.findall(r"^```python\n(.*?)^```", text("README.md"), re.MULTILINE | re.DOTALL)))
    tree = ast.parse(block)
    imported = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "probe_ext"
        for alias in node.names
    }  # fmt: skip
    assert imported <= set(probe_ext.__all__)
    for attribute in ("llm", "prompts"):
        called = set(re.findall(rf"self\.{attribute}\.(\w+)\(", block))
        assert called
        assert called <= locust_names[attribute]


# --- links ---


def anchors(markdown: str) -> set[str]:
    """Return the anchors of all headings as GitHub forms them: a repeated heading gets -1, -2, …"""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+?) *$", _FENCED.sub("", markdown), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def broken_links(page: Path, markdown: str) -> list[str]:
    """Return the links without a target in the project; what is on the web is not requested, only well-formed."""
    broken = []
    for link in _LINK.findall(_CODE.sub("", _FENCED.sub("", markdown))):
        url = urlsplit(link)
        target = page.parent / url.path if url.path else page
        if url.scheme:
            good = url.scheme in {"http", "https"} and bool(url.netloc)
        else:
            good = target.resolve().is_relative_to(ROOT) and target.exists()
            if good and url.fragment:
                good = url.fragment in anchors(markdown if target == page else target.read_text(encoding="utf-8"))
        if not good:
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_a_target(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_broken_links_are_found() -> None:
    page = "# A title\n## A title\n[a](docs) [b](#a-title-1) [c](https://example.com/x) ![d](LICENSE)\n"
    bad = ["gone.md", "../outside.md", "#a-title-2", "docs/ci.md#gone", "https:///x", "ftp://example.com/x"]
    assert broken_links(ROOT / "README.md", page + "".join(f"[x]({link})" for link in bad)) == bad


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_path_of_one_machine(page: Path) -> None:
    assert not re.findall(r"(?<![\w./:-])/(?:home|root|tmp|Users)/\w+", page.read_text(encoding="utf-8"))


def test_what_a_change_touches_is_in_the_files_that_its_row_names() -> None:
    for row in text("CONTRIBUTING.md").split("\n## Where does it go?\n")[1].split("\n## Rules\n")[0].splitlines():
        named = re.findall(r"`([^`]+)`", row) if row.startswith("| ") else []
        code = "".join((ROOT / name).read_text("utf-8") for name in named if (ROOT / name).is_file())
        for name in named:
            if re.fullmatch(r"[A-Za-z_.]+", name) and not (ROOT / name).exists():
                assert re.search(rf"\b{name.rpartition('.')[2]}\b", code), row


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_mentioned_paths_exist(page: str) -> None:
    """Paths start at the root of the project, or in ARCHITECTURE.md at that of the package."""
    code = _CODE.findall(_FENCED.sub("", text(page)))
    paths = {piece for piece in code if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?|\w+\.py", piece)} - _MADE_BY_MAKE
    assert len(paths) > 20
    missing = {path for path in paths if not any((root / path).exists() for root in (ROOT, ROOT / "probe_ext"))}
    assert not missing


def test_paths_in_commands_exist() -> None:
    folders = "benchmarks|configs|docker|docs|locustfiles|probe_ext|scripts|tests"
    for page in PAGES:
        named = re.findall(rf"(?<![\w./-])(?:{folders})/[\w./-]*\w", page.read_text(encoding="utf-8"))
        missing = {path for path in named if not ((ROOT / path).exists() or (page.parent / path).exists())}
        assert not missing, page.name


def test_packages() -> None:
    packages = {path.name for path in (ROOT / "probe_ext").iterdir() if (path / "__init__.py").exists()}
    assert {name.strip("`") for name in names(tables(section("ARCHITECTURE.md", "The layers"))[0])} == packages


def test_dependencies() -> None:
    wanted = tomllib.loads(text("pyproject.toml"))["project"]["dependencies"]
    listed = {name for row in tables(section("ARCHITECTURE.md", "Dependencies"))[0] for name in row[0].split(", ")}
    assert listed == {re.split(r"[><=]", line)[0] for line in wanted}


@pytest.mark.parametrize(("name", "width"), [("report", 1280), ("report-phone", 390), ("report-time", 1280)])
def test_pictures_are_small_and_of_the_right_width(name: str, width: int) -> None:
    picture = (DOCS / "images" / f"{name}.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(picture[16:20]) == width
    assert len(picture) < 200_000


def test_lines_are_short() -> None:
    for page in PAGES:
        shown = re.sub(r'<a id="[^"]*"></a>', "", page.read_text(encoding="utf-8"))
        for number, line in enumerate(shown.splitlines(), 1):
            assert len(line) <= 128 or line.startswith(("|", "!", "**")), f"{page.relative_to(ROOT)}:{number}"


def test_tables_and_sections_are_parsed() -> None:
    part = "| a | b |\n|---|---|\n| `x` | 1 |\n| `y`, `z` | 2 |\n"
    assert names(tables(part)[0]) == ["x", "y", "z"]
    assert tables("no table") == []
    with pytest.raises(AssertionError, match="no heading"):
        section("README.md", "There is no such heading")


def test_option_fields_and_table_agree() -> None:
    from probe_ext.settings.options import Options  # noqa: PLC0415 - beside its only use

    assert [f.name for f in fields(Options)] == [o.name for o in OPTIONS]
