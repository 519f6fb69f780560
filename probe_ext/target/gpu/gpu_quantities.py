"""The canonical quantities in `gpu.csv`, for all exporters.

Every value is of one GPU. An exporter may repeat a GPU (once per pod, or per MIG instance): repetitions are dropped,
instances combined by `over`. Values outside `limits` are an exporter's way to say "not measured" and are left out.
"""

from dataclasses import dataclass

from probe_ext.target.metrics.quantities import Fold, Kind


@dataclass(frozen=True, slots=True)
class GpuQuantity:
    """A quantity of one GPU."""

    name: str
    unit: str
    kind: Kind
    over: Fold
    """combines the instances of a partitioned GPU"""
    limits: tuple[float, float]
    """what a GPU can report; everything else is left out"""
    meaning: str


def _share(name: str, meaning: str) -> GpuQuantity:
    return GpuQuantity(name, "fraction", "gauge", "max", (0, 1), meaning)


def _gauge(name: str, unit: str, limits: tuple[float, float], meaning: str, over: Fold = "max") -> GpuQuantity:
    return GpuQuantity(name, unit, "gauge", over, limits, meaning)


GPU_QUANTITIES: dict[str, GpuQuantity] = {
    quantity.name: quantity
    for quantity in (
        _share("gpu_utilisation", "share of time in which at least one kernel ran"),
        _share("gpu_memory_activity", "share of time in which memory was read or written"),
        _gauge("gpu_memory_used", "bytes", (0, 1e13), "memory in use, by all processes", "sum"),
        _gauge("gpu_memory_total", "bytes", (1, 1e13), "size of the memory", "sum"),
        _gauge("gpu_clock", "MHz", (1, 20_000), "clock of the compute units"),
        _gauge("gpu_memory_clock", "MHz", (1, 50_000), "clock of the memory"),
        _gauge("gpu_temperature", "°C", (1, 200), "temperature of the chip, at its hottest sensor"),
        _gauge("gpu_power", "watts", (0.1, 20_000), "power drawn by the whole board"),
        _gauge("gpu_power_limit", "watts", (0.1, 20_000), "power at which the GPU lowers its clock"),
        GpuQuantity("gpu_energy", "joules", "counter", "max", (0, 1e14), "energy drawn since the driver was loaded"),
        _share("gpu_power_capped", "1 while the clock is lowered to stay within the power limit"),
        _share("gpu_thermal_slowdown", "1 while the clock is lowered because of the temperature"),
        _share("gpu_hardware_slowdown", "1 while the hardware itself slows down: too hot, or its power supply fails"),
    )
}
