"""GPU exporters' pages: recognised by their names, converted to one unit, without what no GPU can report."""

import pytest

from probe_ext.measure.table_rows import GpuRow
from probe_ext.target.control.call_result import Answer
from probe_ext.target.control.urls import shown_gpus, split_gpus
from probe_ext.target.gpu.exporters import EXPORTERS
from probe_ext.target.gpu.gpu_page import read_gpu_page
from probe_ext.target.gpu.gpu_poller import gpu_findings, gpu_pollers
from probe_ext.target.gpu.gpu_quantities import GPU_QUANTITIES
from probe_ext.target.metrics.catalogue import Reading
from probe_ext.target.metrics.metrics_text import Unreadable

DCGM = """
# HELP DCGM_FI_DEV_SM_CLOCK SM clock frequency (in MHz).
DCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-5",Hostname="a"} 1410
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-5",Hostname="a"} 64
DCGM_FI_DEV_MEMORY_TEMP{gpu="0",UUID="GPU-5",Hostname="a"} 0
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-5",Hostname="a"} 299.5
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-5",Hostname="a"} 5551899580
DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="GPU-5",Hostname="a"} 97
DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-5",Hostname="a"} 1024
DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-5",Hostname="a"} 3072
DCGM_FI_DEV_CLOCKS_EVENT_REASONS{gpu="0",UUID="GPU-5",Hostname="a"} 100
"""
NVIDIA_SMI = """
nvidia_smi_clocks_current_sm_clock_hz{uuid="df6e"} 1.41e+09
nvidia_smi_clocks_throttle_reasons_active{uuid="df6e"} 4
nvidia_smi_enforced_power_limit_watts{uuid="df6e"} 250
nvidia_smi_memory_total_bytes{uuid="df6e"} 8.589934592e+09
nvidia_smi_memory_used_bytes{uuid="df6e"} 7.06740224e+08
nvidia_smi_power_draw_watts{uuid="df6e"} 28.07
nvidia_smi_temperature_gpu{uuid="df6e"} 34
nvidia_smi_utilization_gpu_ratio{uuid="df6e"} 0.31
"""
AMD = """
amd_gpu_gfx_activity{gpu_id="1",gpu_uuid="72ff",hostname="h"} 40
amd_gpu_clock{gpu_id="1",hostname="h",clock_index="0",clock_type="GPU_CLOCK_TYPE_SYSTEM"} 2100
amd_gpu_clock{gpu_id="1",hostname="h",clock_index="8",clock_type="GPU_CLOCK_TYPE_MEMORY"} 900
amd_gpu_used_vram{gpu_id="1",hostname="h"} 1000
amd_gpu_package_power{gpu_id="1",hostname="h"} 612
amd_gpu_energy_consumed{gpu_id="1",hostname="h"} 9000000
amd_gpu_junction_temperature{gpu_id="1",hostname="h"} 71
"""


def figures(body: str, chosen: frozenset[str] | None = None) -> dict[tuple[str, str], float]:
    reading = read_gpu_page(body, chosen)
    assert isinstance(reading, Reading), reading
    return {(f.engine, f.quantity): f.value for f in reading.figures}


def test_dcgm() -> None:
    assert figures(DCGM) == {
        ("0", "gpu_utilisation"): 0.97,
        ("0", "gpu_memory_used"): 3072 * 2**20,
        ("0", "gpu_memory_total"): 4096 * 2**20,
        ("0", "gpu_clock"): 1410,
        ("0", "gpu_temperature"): 64,
        ("0", "gpu_power"): 299.5,
        ("0", "gpu_energy"): pytest.approx(5551899.58),
        ("0", "gpu_power_capped"): 1,  # 100 = SW power cap, SW and HW thermal slowdown
        ("0", "gpu_thermal_slowdown"): 1,
        ("0", "gpu_hardware_slowdown"): 0,
    }


def test_nvidia_gpu_exporter() -> None:
    found = figures(NVIDIA_SMI)
    assert found["df6e", "gpu_clock"] == pytest.approx(1410)
    assert found["df6e", "gpu_utilisation"] == 0.31
    assert (found["df6e", "gpu_power"], found["df6e", "gpu_power_limit"]) == (28.07, 250)
    assert (found["df6e", "gpu_power_capped"], found["df6e", "gpu_thermal_slowdown"]) == (1, 0)


@pytest.mark.parametrize("prefix", ["amd_gpu_", "gpu_"])
def test_amd_device_metrics_exporter(prefix: str) -> None:
    found = figures(AMD.replace("amd_gpu_", prefix))
    assert (found["1", "gpu_clock"], found["1", "gpu_memory_clock"]) == (2100, 900)
    assert (found["1", "gpu_utilisation"], found["1", "gpu_energy"]) == (0.4, 9.0)


def test_the_kind_is_told_by_the_names() -> None:
    kinds = [reading.kind for body in (DCGM, NVIDIA_SMI, AMD) if isinstance(reading := read_gpu_page(body), Reading)]
    assert kinds == ["dcgm", "nvidia_gpu_exporter", "amd"]


@pytest.mark.parametrize(
    ("line", "quantity"),
    [
        ('DCGM_FI_DEV_SM_CLOCK{gpu="0"} 9223372036854775794', "gpu_clock"),  # DCGM's blank for integers
        ('DCGM_FI_DEV_POWER_USAGE{gpu="0"} 140737488355328', "gpu_power"),  # its blank for fractions
        ('DCGM_FI_DEV_GPU_TEMP{gpu="0"} 0', "gpu_temperature"),
        ('DCGM_FI_DEV_GPU_UTIL{gpu="0"} 255', "gpu_utilisation"),
        ('DCGM_FI_DEV_CLOCKS_EVENT_REASONS{gpu="0"} 9223372036854775794', "gpu_thermal_slowdown"),
        ('amd_gpu_clock{gpu_id="0",clock_type="GPU_CLOCK_TYPE_SYSTEM"} 4294967295', "gpu_clock"),
        ('DCGM_FI_DEV_POWER_USAGE{gpu="0"} NaN', "gpu_power"),
    ],
)
def test_a_value_that_no_gpu_has_is_missing(line: str, quantity: str) -> None:
    other = 'DCGM_FI_DEV_MEM_CLOCK{gpu="0"} 405' if line.startswith("DCGM") else 'amd_gpu_umc_activity{gpu_id="0"} 1'
    assert ("0", quantity) not in figures(f"{line}\n{other}\n")


def test_a_gpu_shared_by_pods_is_counted_once_and_parts_of_one_are_added() -> None:
    page = 'DCGM_FI_DEV_FB_USED{gpu="0",pod="a"} 10\nDCGM_FI_DEV_FB_USED{gpu="0",pod="b"} 10\n'
    assert figures(page)["0", "gpu_memory_used"] == 10 * 2**20
    parts = 'DCGM_FI_DEV_FB_USED{gpu="0",GPU_I_ID="1"} 10\nDCGM_FI_DEV_FB_USED{gpu="0",GPU_I_ID="2"} 30\n'
    parts += 'DCGM_FI_DEV_POWER_USAGE{gpu="0",GPU_I_ID="1"} 200\nDCGM_FI_DEV_POWER_USAGE{gpu="0",GPU_I_ID="2"} 200\n'
    found = figures(parts)
    assert (found["0", "gpu_memory_used"], found["0", "gpu_power"]) == (40 * 2**20, 200)


def test_gpus_of_several_machines_stay_apart() -> None:
    page = 'DCGM_FI_DEV_POWER_USAGE{gpu="0",Hostname="a"} 1\nDCGM_FI_DEV_POWER_USAGE{gpu="0",Hostname="b"} 2\n'
    assert figures(page) == {("a/0", "gpu_power"): 1, ("b/0", "gpu_power"): 2}


def test_selected_gpus() -> None:
    page = "".join(f'DCGM_FI_DEV_POWER_USAGE{{gpu="{n}"}} {n + 1}\n' for n in range(4))
    url, chosen = split_gpus("http://node:9400/metrics#1+3")
    assert url == "http://node:9400/metrics"
    assert set(figures(page, chosen)) == {("1", "gpu_power"), ("3", "gpu_power")}
    missing = read_gpu_page(page, frozenset({"7"}))
    assert missing == Unreadable("no GPU 7 on the page, which has 0, 1, 2, 3")
    assert shown_gpus("http://u:p@node:9400/metrics?key=x#3+1") == "http://node:9400/metrics?key=hidden#1+3"


@pytest.mark.parametrize("body", ["vllm:num_requests_running 1\n", "<html>login</html>", "", "gpu_x 1\n"])
def test_other_pages_are_refused(body: str) -> None:
    assert isinstance(read_gpu_page(body), Unreadable)


def test_every_source_has_a_known_quantity() -> None:
    assert {source.quantity for exporter in EXPORTERS for source in exporter.sources} == set(GPU_QUANTITIES)


def test_each_exporter_is_polled_by_itself_and_its_failure_told() -> None:
    rows: list[GpuRow] = []
    pages = {"http://a/metrics": DCGM, "http://b/metrics": "<html>\n"}
    pollers = gpu_pollers(
        ["http://a/metrics#0", "http://b/metrics"],
        lambda url: Answer(200, pages[url].encode(), ""),
        clock=lambda: 1.0,
        sleep=lambda _: None,
        spawn=lambda _: None,
        emit=rows.extend,
        period=1.0,
    )
    for poller, url in zip(pollers, pages, strict=True):
        poller.poll(url)
    assert {(row.url, row.gpu) for row in rows} == {("http://a/metrics", "0")}
    (finding,) = gpu_findings(pollers)
    assert finding["check"] == "gpu_metrics"
    assert "http://b/metrics: no metrics: not Prometheus text" in finding["why"]
