"""The GPUs on the live page: the newest values, and none that are too old."""

from probe_ext.live.server.gpu_now import GpuNow
from probe_ext.measure.table_rows import GpuRow


def rows(t: float, gpu: str, **values: float) -> list[GpuRow]:
    return [GpuRow(t, "u", gpu, f"gpu_{name}", value) for name, value in values.items()]


def test_the_busiest_the_hottest_and_all_power() -> None:
    now = GpuNow()
    now.add(rows(1.0, "0", utilisation=0.2, power=100.0, temperature=50.0, clock=1.0))
    now.add(rows(1.0, "1", utilisation=0.9, power=250.0, temperature=70.0))
    assert (now.busiest(2.0), now.power(2.0), now.hottest(2.0)) == (0.9, 350.0, 70.0)


def test_power_is_unknown_as_soon_as_one_gpu_is_silent() -> None:
    now = GpuNow()
    now.add(rows(1.0, "0", power=100.0))
    now.add(rows(1.0, "1", power=100.0))
    now.add(rows(9.0, "1", power=120.0))
    assert now.power(9.0) is None


def test_nothing_was_read() -> None:
    now = GpuNow()
    assert (now.busiest(0.0), now.power(0.0), now.hottest(0.0)) == (None, None, None)
