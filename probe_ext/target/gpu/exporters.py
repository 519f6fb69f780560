"""Metric names of each GPU exporter for each canonical quantity.

As with engines, a quantity's sources are in order of preference, and an exporter is recognised by the names on its
page. Units are converted by `scale`. Counters of throttled time are not used: exporters disagree about their unit.
Sources: dcgm-exporter's default-counters.csv and NVML's clocks-event reasons (bit values); example page of
nvidia_gpu_exporter; metric list of AMD's device-metrics-exporter; Triton's metrics documentation.
"""

from dataclasses import dataclass

Where = tuple[tuple[str, str], ...]

_MIB = 1024.0 * 1024.0
_POWER_CAP_BITS = 0x4 | 0x80  # SW power cap, HW power brake
_THERMAL_BITS = 0x20 | 0x40  # SW thermal, HW thermal
_HARDWARE_BIT = 0x8
_FRAME_BUFFER = ("DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE")


@dataclass(frozen=True, slots=True)
class GpuSource:
    """The metrics of an exporter that make up one quantity."""

    quantity: str
    metrics: tuple[str, ...]
    """summed; all of them must be on the page"""
    scale: float = 1.0
    """canonical unit per unit of the exporter"""
    bits: int = 0
    """of a bit mask: 1 if any of these is set, else 0"""
    where: Where = ()
    """(label, pattern) pairs: only samples whose label fully matches"""


@dataclass(frozen=True, slots=True)
class Exporter:
    """One exporter. `devices`: labels that identify a GPU, the first that is present; `instance`: of a part of it."""

    kind: str
    sources: tuple[GpuSource, ...]
    devices: tuple[str, ...]
    host: str = ""
    """label of the machine, where a page may have several"""
    instance: str = ""


def _source(quantity: str, *metrics: str, scale: float = 1.0, bits: int = 0, where: Where = ()) -> GpuSource:
    return GpuSource(quantity, metrics, scale, bits, where)


def _reasons(metric: str) -> tuple[GpuSource, ...]:
    """Split NVML's bit mask of the reasons for a lowered clock."""
    return (
        _source("gpu_power_capped", metric, bits=_POWER_CAP_BITS),
        _source("gpu_thermal_slowdown", metric, bits=_THERMAL_BITS),
        _source("gpu_hardware_slowdown", metric, bits=_HARDWARE_BIT),
    )


_DCGM = Exporter(
    "dcgm",
    (
        _source("gpu_utilisation", "DCGM_FI_DEV_GPU_UTIL", scale=0.01),
        _source("gpu_utilisation", "DCGM_FI_PROF_GR_ENGINE_ACTIVE"),  # the only one of the two with MIG
        _source("gpu_memory_activity", "DCGM_FI_PROF_DRAM_ACTIVE"),
        _source("gpu_memory_activity", "DCGM_FI_DEV_MEM_COPY_UTIL", scale=0.01),
        _source("gpu_memory_used", "DCGM_FI_DEV_FB_USED", scale=_MIB),
        _source("gpu_memory_total", "DCGM_FI_DEV_FB_TOTAL", scale=_MIB),
        _source("gpu_memory_total", *_FRAME_BUFFER, "DCGM_FI_DEV_FB_RESERVED", scale=_MIB),
        _source("gpu_memory_total", *_FRAME_BUFFER, scale=_MIB),
        _source("gpu_clock", "DCGM_FI_DEV_SM_CLOCK"),
        _source("gpu_memory_clock", "DCGM_FI_DEV_MEM_CLOCK"),
        _source("gpu_temperature", "DCGM_FI_DEV_GPU_TEMP"),
        _source("gpu_power", "DCGM_FI_DEV_POWER_USAGE"),
        _source("gpu_power_limit", "DCGM_FI_DEV_ENFORCED_POWER_LIMIT"),
        _source("gpu_power_limit", "DCGM_FI_DEV_POWER_MGMT_LIMIT"),
        _source("gpu_energy", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", scale=0.001),
        *_reasons("DCGM_FI_DEV_CLOCKS_EVENT_REASONS"),
        *_reasons("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS"),  # its name up to DCGM 3.2
    ),
    devices=("gpu", "UUID"),
    host="Hostname",
    instance="GPU_I_ID",
)  # fmt: skip

_NVIDIA_SMI = Exporter(
    "nvidia_gpu_exporter",
    (
        _source("gpu_utilisation", "nvidia_smi_utilization_gpu_ratio"),
        _source("gpu_memory_activity", "nvidia_smi_utilization_memory_ratio"),
        _source("gpu_memory_used", "nvidia_smi_memory_used_bytes"),
        _source("gpu_memory_total", "nvidia_smi_memory_total_bytes"),
        _source("gpu_clock", "nvidia_smi_clocks_current_sm_clock_hz", scale=1e-6),
        _source("gpu_memory_clock", "nvidia_smi_clocks_current_memory_clock_hz", scale=1e-6),
        _source("gpu_temperature", "nvidia_smi_temperature_gpu"),
        _source("gpu_power", "nvidia_smi_power_draw_watts"),
        _source("gpu_power", "nvidia_smi_power_draw_instant_watts"),
        _source("gpu_power_limit", "nvidia_smi_enforced_power_limit_watts"),
        _source("gpu_power_limit", "nvidia_smi_power_limit_watts"),
        *_reasons("nvidia_smi_clocks_event_reasons_active"),
        *_reasons("nvidia_smi_clocks_throttle_reasons_active"),
    ),
    devices=("uuid",),
)

_AMD = Exporter(
    "amd",
    tuple(
        _source(quantity, prefix + metric, scale=scale, where=where)
        for prefix in ("amd_gpu_", "gpu_", "GPU_")  # the prefix is a setting of the exporter
        for quantity, metric, scale, where in (
            ("gpu_utilisation", "gfx_activity", 0.01, ()),
            ("gpu_memory_activity", "umc_activity", 0.01, ()),
            ("gpu_memory_used", "used_vram", 1e6, ()),
            ("gpu_memory_total", "total_vram", 1e6, ()),
            ("gpu_clock", "clock", 1.0, (("clock_type", "(?i).*(system|gfx).*"),)),
            ("gpu_memory_clock", "clock", 1.0, (("clock_type", "(?i).*mem.*"),)),
            ("gpu_temperature", "junction_temperature", 1.0, ()),
            ("gpu_temperature", "edge_temperature", 1.0, ()),
            ("gpu_power", "package_power", 1.0, ()),
            ("gpu_power", "average_package_power", 1.0, ()),
            ("gpu_power", "power_usage", 1.0, ()),
            ("gpu_energy", "energy_consumed", 1e-6, ()),
            ("gpu_power_capped", "violation_ppt_residency_percentage", 0.01, ()),
            ("gpu_thermal_slowdown", "violation_socket_thermal_residency_percentage", 0.01, ()),
        )
    ),
    devices=("gpu_id", "gpu_uuid", "serial_number"),
    host="hostname",
)

_TRITON = Exporter(
    "triton",
    (
        _source("gpu_utilisation", "nv_gpu_utilization"),
        _source("gpu_memory_used", "nv_gpu_memory_used_bytes"),
        _source("gpu_memory_total", "nv_gpu_memory_total_bytes"),
        _source("gpu_power", "nv_gpu_power_usage"),
        _source("gpu_power_limit", "nv_gpu_power_limit"),
        _source("gpu_energy", "nv_energy_consumption"),
    ),
    devices=("gpu_uuid",),
)

EXPORTERS: tuple[Exporter, ...] = (_DCGM, _NVIDIA_SMI, _AMD, _TRITON)
