"""The simulated card: energy in closed form, heat that slows it down, and a page in dcgm-exporter's form."""

import pytest
from sim_helpers import make_request, tiny

from probe_ext.sim.engine.gpu_model import BUSY_W, FULL_CLOCK_MHZ, IDLE_W, SLOWDOWN_C, Gpu
from probe_ext.sim.engine.scheduler import Engine
from probe_ext.sim.metrics.dcgm_metrics import render_gpu
from probe_ext.sim.profile import load_profile
from probe_ext.target.gpu.gpu_page import read_gpu_page
from probe_ext.target.metrics.catalogue import Reading

HOT = 0.55


def test_energy_within_a_step_and_after_it() -> None:
    card = Gpu()
    card.work(2.0, 6.0)
    for now, busy in ((2.0, 0.0), (3.0, 1.0), (6.0, 4.0), (10.0, 4.0)):
        assert card.joules(now) == pytest.approx(IDLE_W * now + (BUSY_W - IDLE_W) * busy)
    assert card.utilisation(5.5) == 1.0
    assert card.utilisation(6.75) == pytest.approx(0.25)


def test_a_cool_card_keeps_its_clock_and_a_hot_one_does_not() -> None:
    cool, hot = Gpu(), Gpu(HOT)
    for second in range(120):
        cool.work(second, second + 1.0)
        hot.work(second, second + 1.0)
    assert cool.clock(120.0) == FULL_CLOCK_MHZ
    assert cool.temperature < SLOWDOWN_C < hot.temperature
    assert hot.clock(120.0) < 0.9 * FULL_CLOCK_MHZ
    assert hot.power(120.0) < cool.power(120.0)


def test_a_hot_card_s_steps_take_longer() -> None:
    profile = load_profile("demo")
    requests = [make_request(number, 0.0, 20, 1500, number) for number in range(1, 5)]
    ends = []
    for cooling in (0.25, HOT, 2 * HOT):
        engine = Engine(profile, 1.0, gpu=Gpu(cooling))
        for request in requests:
            engine.add(request)
        while engine.step() is not None:
            pass
        ends.append(engine.now)
    assert ends[1] > 1.05 * ends[0]
    assert ends[2] > 1.05 * ends[1]


def test_the_engine_s_card_is_busy_for_less_than_its_steps() -> None:
    """In the rest of a step, the engine prepares it and hands out tokens."""
    engine = Engine(tiny(64))
    engine.add(make_request(1, 0.0, 10, 50, 1))
    while engine.step() is not None:
        pass
    busy = (engine.gpu.joules(engine.now) - IDLE_W * engine.now) / (BUSY_W - IDLE_W)
    assert 0 < busy < engine.now


def test_its_page_is_read_as_that_of_dcgm_exporter() -> None:
    card = Gpu(HOT)
    for second in range(120):
        card.work(second, second + 1.0)
    reading = read_gpu_page(render_gpu(card, load_profile("demo"), 120.0))
    assert isinstance(reading, Reading)
    values = {figure.quantity: figure.value for figure in reading.figures}
    assert reading.kind == "dcgm"
    assert values["gpu_energy"] == pytest.approx(card.joules(120.0), abs=0.001)
    assert (values["gpu_utilisation"], values["gpu_thermal_slowdown"], values["gpu_power_capped"]) == (1.0, 1.0, 0.0)
