"""GPUs: energy where the truth is known by construction, and what a calm or a throttled GPU says of a limit."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from regimes import evidence_of, ruling
from worlds import CHAT, columns, evidence, manifest, staircase, steady, worker

from probe_ext.measure.table_rows import GpuRow
from probe_ext.sim.engine import gpu_model
from probe_ext.sim.engine.gpu_model import Gpu
from probe_ext.verdict.evidence.columns import numbers
from probe_ext.verdict.evidence.evidence import Columns, Evidence
from probe_ext.verdict.judge import judge
from probe_ext.verdict.levels.find_levels import Level
from probe_ext.verdict.server.gpu_series import energy, read_gpus, update_interval
from probe_ext.verdict.values.judgement import Judgement

USERS, SECONDS = 4, 95
TOKENS_PER_S = 100.0
"""of `worlds.evidence`"""

Curve = Callable[[float], float]


def gpu_rows(curves: dict[str, Curve], *, gpu: str = "0", every: float = 1.0, until: float = SECONDS) -> list[GpuRow]:
    """Return samples once a second of an exporter that updates its values every so often."""
    return [
        GpuRow(float(t), "http://gpu", gpu, name, curve(t // every * every))
        for t in np.arange(0.0, until, 1.0)
        for name, curve in curves.items()
    ]


def constant(value: float) -> Curve:
    return lambda _: value


def powered(watts: float) -> dict[str, Curve]:
    """Return a GPU with an energy counter that began long ago, and a power that flickers around its mean."""
    return {
        "gpu_energy": lambda t: 5e6 + watts * t,
        "gpu_power": lambda t: watts + (1.0 if int(t) % 2 else -1.0),
        "gpu_utilisation": constant(0.9),
    }


def judged(rows: list[GpuRow]) -> Judgement:
    return judge(evidence(steady(USERS, 0.0, SECONDS), staircase((USERS, SECONDS)), gpu=columns_of(rows)), CHAT)


def columns_of(rows: list[GpuRow]) -> Columns:
    found = dict(columns(rows, GpuRow)) if rows else {}
    for name in ("url", "gpu", "quantity"):
        if rows:
            found[name] = np.array([getattr(row, name) for row in rows], dtype=object)
    return found


def test_joules_of_two_gpus_with_known_power() -> None:
    """200 W and 100 W, 100 tokens/s: 3 J a token; 300 W for 4 people: 75 Wh, or 270,000 J, each hour."""
    found = judged([*gpu_rows(powered(200.0)), *gpu_rows(powered(100.0), gpu="1")]).gpu
    assert found is not None
    assert (found.gpus, found.energy_from, found.users) == (2, "counter", USERS)
    assert found.joules_per_1000_tokens == pytest.approx(3000, rel=0.02)
    assert found.joules_per_user_hour == pytest.approx(270_000, rel=0.02)
    assert "2 GPUs drew 300 W on average: 75 Wh" in found.sentence
    assert found.by_level[0].power == pytest.approx(300, rel=0.02)


def test_power_alone_gives_the_same() -> None:
    curves = {name: curve for name, curve in powered(200.0).items() if name != "gpu_energy"}
    found = judged(gpu_rows(curves)).gpu
    assert found is not None
    assert found.energy_from == "power"
    assert found.joules_per_1000_tokens == pytest.approx(2000, rel=0.02)


def test_a_counter_that_starts_again_loses_nothing_before_it() -> None:
    rows = gpu_rows({**powered(200.0), "gpu_energy": lambda t: 200 * t if t < 50 else 200 * (t - 50)})
    found = judged(rows).gpu
    assert found is not None
    assert found.joules_per_1000_tokens == pytest.approx(2000, rel=0.05)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([*gpu_rows(powered(200.0)), *gpu_rows({"gpu_utilisation": lambda t: t % 2 / 2}, gpu="1")], "not every GPU"),
        (gpu_rows(powered(200.0), every=30.0), "change only every 30 s"),
        (gpu_rows(dict.fromkeys(powered(1.0), constant(0.5))), "never changed"),
        (gpu_rows({**powered(200.0), "gpu_power": lambda t: 400.0 + t % 2}), "disagree"),
        (gpu_rows(powered(200.0), until=30.0), "throughout the level"),
    ],
    ids=["one GPU without power", "slow exporter", "frozen exporter", "counter against power", "exporter died"],
)
def test_energy_that_was_not_measured_is_missing(rows: list[GpuRow], why: str) -> None:
    found = judged(rows).gpu
    assert found is not None
    assert (found.joules_per_1000_tokens, found.joules_per_user_hour, found.energy_from) == (None, None, None)
    assert why in found.why_no_energy
    assert why in found.sentence


def test_an_exporter_that_was_never_read_leaves_every_energy_incomplete() -> None:
    rows = gpu_rows(powered(200.0))
    stated = manifest(options={"gpu_metrics": ["http://gpu#0", "http://other/metrics#1"]}, workers=[worker(started=1)])
    run = evidence(steady(USERS, 0.0, SECONDS), staircase((USERS, SECONDS)), gpu=columns_of(rows), manifest=stated)
    found = judge(run, CHAT).gpu
    assert found is not None
    assert (found.joules_per_1000_tokens, found.joules_per_user_hour) == (None, None)
    assert found.why_no_energy == "http://other/metrics could not be read"


def test_no_gpu_no_figures() -> None:
    assert judged([]).gpu is None


def test_the_simulated_card_s_energy_follows_from_its_busy_time() -> None:
    """Busy 60 of 100 s in pieces: the counter, and the joules read from its samples, are known in closed form."""
    card = Gpu()
    samples = []
    for second in range(100):
        card.work(second + 0.2, second + 0.8)
        samples.append(GpuRow(second + 1.0, "u", "0", "gpu_energy", card.joules(second + 1.0)))
    truth = 100 * gpu_model.IDLE_W + 60 * (gpu_model.BUSY_W - gpu_model.IDLE_W)
    assert samples[-1].value == pytest.approx(truth)
    level = Level(1, 1, 1, 20.0, 80.0, False)
    assert energy(read_gpus(columns_of(samples)), level).joules == pytest.approx(0.6 * truth, rel=0.02)


def test_the_exporter_s_own_interval_is_seen_through_faster_polls() -> None:
    (gpu,) = read_gpus(columns_of(gpu_rows(powered(200.0), every=15.0))).values()
    assert update_interval(gpu) == 15.0


# --- evidence for the diagnosis ---


def with_gpu(name: str, curves: dict[str, Curve]) -> Evidence:
    base = evidence_of(name)
    until = float(np.nanmax(numbers(base.replies, "end")))
    return replace(base, gpu=columns_of(gpu_rows(curves, until=until)))


@pytest.mark.untraced
def test_a_busy_gpu_supports_the_hardware_limit_and_a_calm_one_refutes_it() -> None:
    busy = judge(with_gpu("ceiling", {"gpu_utilisation": constant(0.97)}), CHAT)
    calm = judge(with_gpu("ceiling", {"gpu_utilisation": constant(0.31)}), CHAT)
    assert ruling(busy, "ceiling").state == "holds"
    assert "the GPU worked nearly all the time" in ruling(busy, "ceiling").confidence_from
    assert ruling(calm, "ceiling").state == "unknown"
    assert "worked only 31 % of the time" in ruling(calm, "ceiling").why
    assert "ceiling" not in calm.diagnosis.bounds


@pytest.mark.untraced
def test_an_idle_neighbour_does_not_make_the_server_s_gpu_calm() -> None:
    base = with_gpu("ceiling", {"gpu_utilisation": constant(0.97)})
    until = float(base.gpu["t"].max())
    idle = gpu_rows({"gpu_utilisation": constant(0.0)}, gpu="1", until=until)
    both = {name: np.concatenate([base.gpu[name], columns_of(idle)[name]]) for name in base.gpu}
    assert ruling(judge(replace(base, gpu=both), CHAT), "ceiling").state == "holds"


@pytest.mark.untraced
def test_a_calm_gpu_beside_a_queue_points_at_the_setting() -> None:
    found = ruling(judge(with_gpu("batch", {"gpu_utilisation": constant(0.3)}), CHAT), "batch_limit")
    assert "the GPU had time to spare" in found.confidence_from


HOT = {
    "gpu_utilisation": constant(0.95),
    "gpu_clock": lambda t: 1980 * 0.99**t,
    "gpu_temperature": lambda t: 70 + t / 8,
}
CAPPED = {
    "gpu_utilisation": constant(0.95),
    "gpu_clock": lambda t: 1980 * 0.99**t,
    "gpu_power": constant(349.0),
    "gpu_power_limit": constant(350.0),
    "gpu_temperature": constant(60.0),
    "gpu_thermal_slowdown": constant(0.0),
}


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("curves", "label"),
    [
        ({**HOT, "gpu_thermal_slowdown": constant(1.0)}, "its temperature"),
        (HOT, "its temperature"),
        (CAPPED, "its power limit"),
    ],
    ids=["heat, reported", "heat, seen", "power"],
)
def test_a_throttled_gpu_is_named(curves: dict[str, Curve], label: str) -> None:
    found = ruling(judge(with_gpu("ceiling", curves), CHAT), "throttling")
    assert (found.state, found.label) == ("holds", f"the GPU is throttled by {label}")
    assert "clock fell from" in found.why


@pytest.mark.untraced
@pytest.mark.parametrize(
    "curves",
    [
        {**HOT, "gpu_clock": constant(1410.0)},  # hot, but at its clock
        {**HOT, "gpu_utilisation": constant(0.1)},  # a lower clock of a GPU with little to do
        {**HOT, "gpu_temperature": constant(55.0)},  # cool, and no reason known
        {**CAPPED, "gpu_clock": constant(1300.0)},  # at its power limit, but steady: the usual state of a busy GPU
    ],
    ids=["hot", "idle", "cool", "power limit"],
)
def test_a_gpu_that_keeps_its_speed_is_not_called_throttled(curves: dict[str, Curve]) -> None:
    assert ruling(judge(with_gpu("ceiling", curves), CHAT), "throttling").state == "absent"


@pytest.mark.untraced
def test_a_steady_clock_speaks_against_a_throttled_gpu_where_the_server_slows_down() -> None:
    from scripts.study.diagnosis import diagnoses  # noqa: PLC0415
    from scripts.study.diagnosis.hostile_servers import HOSTILE  # noqa: PLC0415

    base = diagnoses.evidence_of(HOSTILE["GPU throttles"], 7)
    until = float(np.nanmax(numbers(base.replies, "end")))
    steady_clock = columns_of(gpu_rows({"gpu_utilisation": constant(0.9), "gpu_clock": constant(1410.0)}, until=until))
    before, after = (ruling(judge(each, CHAT), "throttling") for each in (base, replace(base, gpu=steady_clock)))
    assert (before.state, after.state) == ("holds", "holds")
    assert "expected, but not seen: the GPU's clock fell" in after.confidence_from
