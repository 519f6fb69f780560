"""The card's metrics, with the names, units and labels of NVIDIA's dcgm-exporter."""

from probe_ext.sim.engine.gpu_model import LIMIT_W, MEMORY_CLOCK_MHZ, SLOWDOWN_C, Gpu
from probe_ext.sim.metrics.exposition import family, labels
from probe_ext.sim.profile import Profile

IDLE_BIT, THERMAL_BITS = 0x1, 0x20 | 0x40
MIB = 1024 * 1024


def render_gpu(gpu: Gpu, profile: Profile, now: float) -> str:
    """Return the text exposition. ``now``: seconds on the engine's clock."""
    busy = gpu.utilisation(now)
    hot = busy > 0 and gpu.temperature > SLOWDOWN_C
    used = profile.gpu_memory_bytes * profile.gpu_memory_utilization
    values: list[tuple[str, str, str, float]] = [
        ("DCGM_FI_DEV_SM_CLOCK", "gauge", "Clock of the multiprocessors in MHz", round(gpu.clock(now))),
        ("DCGM_FI_DEV_MEM_CLOCK", "gauge", "Clock of the memory in MHz", MEMORY_CLOCK_MHZ),
        ("DCGM_FI_DEV_GPU_TEMP", "gauge", "Temperature in C", round(gpu.temperature)),
        ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power in W", round(gpu.power(now), 3)),
        ("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", "gauge", "Power limit in W", LIMIT_W),
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", "Energy in mJ", round(gpu.joules(now) * 1000)),
        ("DCGM_FI_DEV_GPU_UTIL", "gauge", "Utilisation in %", round(100 * busy)),
        ("DCGM_FI_DEV_FB_USED", "gauge", "Memory in use in MiB", round(used / MIB)),
        ("DCGM_FI_DEV_FB_FREE", "gauge", "Free memory in MiB", round((profile.gpu_memory_bytes - used) / MIB)),
        ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", "gauge", "Why the clock is lowered", _reasons(busy, hot=hot)),
    ]
    device = labels(gpu="0", UUID="GPU-00000000-0000-4000-8000-000000000000", device="nvidia0", modelName=profile.name)
    text = ",".join(f'{key}="{value}"' for key, value in device)
    lines = []
    for name, kind, meaning, value in values:
        lines += [*family(name, kind, meaning), f"{name}{{{text}}} {value}"]
    return "\n".join(lines) + "\n"


def _reasons(busy: float, *, hot: bool) -> int:
    return THERMAL_BITS if hot else 0 if busy else IDLE_BIT
