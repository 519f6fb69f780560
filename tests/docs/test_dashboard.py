"""The Grafana dashboard: its queries name metrics that exist, and a real Prometheus answers each of them."""

import json
import re
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit
from urllib.request import urlopen

import pytest
import yaml

from tests.e2e.conftest import CAPACITY, channel, end, free_port, sim, start, wait_for  # noqa: F401 - a fixture
from tests.test_docs import BIN, ROOT, documented

FOLDER = ROOT / "docker" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboards" / "load-test.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
METRIC = re.compile(r"\b(?:vllm:|probe_)\w+")
RECORDING = ROOT / "tests" / "fixtures" / "recordings" / "vllm_metrics_0.32.0_load_preemption.txt"
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
ABSENT = "NO REAL PROMETHEUS IS TESTED: there is no command prometheus here; Debian's package has it"
if PROMETHEUS is None:
    warnings.warn(ABSENT, stacklevel=1)


def test_every_query_names_metrics_that_exist() -> None:
    page = RECORDING.read_text(encoding="utf-8")
    known = set(re.findall(r"^(vllm:\w+)", page, re.MULTILINE))
    own = documented("docs/containers.md", "The load test's own figures")
    known |= set(own) | {f"{name}_{part}" for name in own for part in ("bucket", "sum", "count")}
    for title, query in QUERIES:
        assert METRIC.findall(query), title
        assert set(METRIC.findall(query)) <= known, title
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps([panel["targets"] for panel in PANELS])))
    assert used == variables | {"__rate_interval"}


def test_every_figure_of_the_load_test_is_shown() -> None:
    shown = {re.sub(r"_bucket$", "", name) for _, query in QUERIES for name in METRIC.findall(query)}
    assert set(documented("docs/containers.md", "The load test's own figures")) <= shown


def test_panels_are_complete_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    for panel in PANELS:
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${source}"
    assert "http" not in json.dumps(DASHBOARD)


def test_compose_provisions_the_dashboard() -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["grafana"]
    folders = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert all((ROOT / folder).exists() for folder in folders)
    provider = yaml.safe_load((FOLDER / "provisioning" / "dashboards" / "files.yml").read_text())["providers"][0]
    assert folders["./docker/grafana/dashboards"] == provider["options"]["path"]
    settings = ConfigParser()
    settings.read(FOLDER / "grafana.ini")
    home = Path(settings["dashboards"]["default_home_dashboard_path"])
    assert str(home.parent) == provider["options"]["path"]
    assert (FOLDER / "dashboards" / home.name).exists()
    assert settings["auth.anonymous"]["org_role"] == "Viewer"
    assert service["ports"] == ["${GRAFANA_WEB:-127.0.0.1:3000}:3000"]
    (source,) = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    scraping = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == scraping["global"]["scrape_interval"]
    assert service["profiles"] == ["prometheus"]


@pytest.fixture(scope="module")
def load_test(sim: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:  # noqa: F811
    """A master with its web UI and a worker, on the simulated server; the master's URL."""
    port, out = free_port(), tmp_path_factory.mktemp("load") / "run"
    line = [str(BIN / "locust"), "-f", str(CAPACITY), "--host", sim, "--out", str(out), "--no-report"]
    line += ["--web-host", "127.0.0.1", "--web-port", str(port), "--autostart", "-u", "4", "-r", "4", "-t", "100s"]
    line += ["--warm-up", "off", "--processes", "1", *channel()]
    process = start(line)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


@pytest.mark.skipif(PROMETHEUS is None, reason=ABSENT)
def test_a_real_prometheus_answers_every_query(load_test: str, sim: str, tmp_path: Path) -> None:  # noqa: F811
    address = f"127.0.0.1:{free_port()}"
    config = yaml.safe_load((ROOT / "docker" / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    for job, url in zip(config["scrape_configs"], (sim, load_test), strict=True):
        job["static_configs"] = [{"targets": [urlsplit(url).netloc]}]
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    line = [str(PROMETHEUS), f"--config.file={tmp_path / 'prometheus.yml'}", f"--web.listen-address={address}"]
    process = subprocess.Popen(
        [*line, f"--storage.tsdb.path={tmp_path / 'tsdb'}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    empty: list[str] = [title for title, _ in QUERIES]

    def all_answered() -> bool:
        empty[:] = [f"{title}: {query}" for title, query in QUERIES if not _answer(address, query)]
        return not empty

    try:
        wait_for(all_answered, f"answers to {empty}")
    finally:
        end(process)  # type: ignore[arg-type]


def _answer(address: str, query: str) -> list[Any]:
    """Return the finite values that Prometheus gives; none while it does not answer."""
    for variable, value in (("$__rate_interval", "15s"), ("$scenario", ".*"), ("$server", ".*")):
        query = query.replace(variable, value)
    try:
        with urlopen(f"http://{address}/api/v1/query?{urlencode({'query': query})}", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
    except OSError:
        return []
    return [series for series in found if series["value"][1] not in {"NaN", "+Inf", "-Inf"}]


@pytest.mark.skipif(PROMTOOL is None, reason=ABSENT)
def test_names_of_the_metrics_are_as_prometheus_advises(load_test: str) -> None:
    def page() -> bytes:
        try:
            with urlopen(f"{load_test}/probe/metrics", timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            return b""

    text = wait_for(lambda: b"probe_ttft_seconds_sum" in (now := page()) and now, "the master's metrics")
    checked = subprocess.run([str(PROMTOOL), "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
