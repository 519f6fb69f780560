"""A real Prometheus (Debian: `apt-get install prometheus`) scrapes the simulated server during a run."""

import csv
import json
import shutil
import subprocess
import urllib.request
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from probe_ext.report import report_command
from probe_ext.report.inputs import prometheus_import as from_prometheus
from probe_ext.run import manifest
from probe_ext.settings.prometheus_access import PrometheusSource
from probe_ext.target.metrics.quantities import QUANTITIES
from tests.e2e.conftest import end, finished, free_port, locust, start, wait_for

PROMETHEUS = shutil.which("prometheus")
ABSENT = "NO REAL PROMETHEUS IS TESTED: there is no command prometheus here; Debian's package has it"
if PROMETHEUS is None:
    warnings.warn(ABSENT, stacklevel=1)
pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason=ABSENT)

APART = 1.0
"""seconds between a poll and the server's answer on a slow machine"""
Rows = dict[str, list[tuple[float, float]]]
"""by quantity: times and values"""


@pytest.fixture
def prometheus(sim: str, tmp_path: Path) -> Iterator[str]:
    """Start it, scraping the simulator and itself every second; its URL."""
    address = f"127.0.0.1:{free_port()}"
    jobs = [{"job_name": name, "static_configs": [{"targets": [target]}]}
            for name, target in (("vllm", urlsplit(sim).netloc), ("self", address))]  # fmt: skip
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    line = [str(PROMETHEUS), f"--config.file={tmp_path / 'prometheus.yml'}", f"--web.listen-address={address}"]
    process = subprocess.Popen(
        [*line, f"--storage.tsdb.path={tmp_path / 'tsdb'}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: value(f"http://{address}", 'up{job="vllm"}') == 1, "the first scrape")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def value(url: str, query: str) -> float | None:
    """Return one value from Prometheus; None if there is none yet."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{urlencode({'query': query})}", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
    except OSError:
        return None
    return float(found[0]["value"][1]) if found else None


def table(path: Path) -> Rows:
    found: Rows = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["quantity"]].append((float(row["t"]), float(row["value"])))
    return found


def test_prometheus_agrees_with_polling(
    sim: str, prometheus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    run = finished(start(locust(sim, out, "-u", "2", "-r", "2", "-t", "8s", "--input-tokens", "20")), out)
    assert run.code == 0, run.said
    source = PrometheusSource(prometheus, 'job="vllm"')
    from_prometheus.read(out, manifest.read(out), source)
    polled, kept = table(out / "server.csv"), table(out / "server-prometheus.csv")
    assert set(kept) == set(polled)
    assert len(kept["running"]) >= 5
    check_between(polled, kept)

    whole = (out / "server-prometheus.csv").read_text()
    monkeypatch.setattr(from_prometheus, "PIECE_S", 2)
    from_prometheus.read(out, manifest.read(out), source)
    assert (out / "server-prometheus.csv").read_text() == whole  # nothing lost or doubled at the seams

    assert report_command.build(out).page.exists()
    shown = (out / "capacity.html").read_text()
    assert "read from a Prometheus, used instead" in shown
    assert prometheus in shown


def check_between(polled: Rows, kept: Rows) -> None:
    """A counter in Prometheus is between the polls before and after the scrape."""
    compared = 0
    for quantity, samples in kept.items():
        if QUANTITIES[quantity].kind != "counter":
            continue
        for t, counted in samples:
            before = [v for at, v in polled[quantity] if at <= t - APART]
            after = [v for at, v in polled[quantity] if at >= t + APART]
            assert max(before, default=0.0) <= counted + 1e-9, (quantity, t)
            assert counted <= min(after, default=counted) + 1e-9, (quantity, t)
            compared += bool(before and after)
    assert compared >= 5
    assert kept["generation_tokens"][-1][1] > kept["generation_tokens"][0][1]


def test_refuses_a_prometheus_without_data(sim: str, prometheus: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    ours = ["-u", "1", "-t", "5s", "--prometheus", prometheus, "--prometheus-match"]
    process = start(locust(sim, out, *ours, 'job="self"'))
    try:
        said, _ = process.communicate(timeout=300)
    finally:
        end(process)
    assert process.returncode == 2
    assert 'currently has no engine metrics matching {job="self"}' in said
    assert not out.exists()

    process = start([*locust(sim, out, *ours, 'job="vllm"')])
    run = finished(process, out)
    assert run.code == 0, run.said
    assert run.rows("server.csv") == []  # not polled as well
    assert report_command.server_figures(out, None, None) is None
    assert (out / "server-prometheus.csv").exists()
