"""LatencySketch: bounded error, and merging equals adding."""

import json
import math
import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe_ext.measure.sketch import ACCURACY, FLOOR, LatencySketch

QUANTILES = (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
ROUNDING = 1e-9
DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    "uniform": lambda r: r.uniform(0.001, 2.0),
    "exponential": lambda r: r.expovariate(20.0) + 2e-6,
    "lognormal": lambda r: r.lognormvariate(-4, 2) + 2e-6,
    "heavy tail": lambda r: 0.001 * r.paretovariate(0.8),
    "bimodal": lambda r: r.gauss(0.02, 0.001) if r.random() < 0.9 else abs(r.gauss(4.0, 0.5)) + 0.01,
    "constant": lambda r: 0.0213,
}
durations = st.floats(min_value=0, max_value=1e6, allow_nan=False)


def sketch_of(values: list[float]) -> LatencySketch:
    sketch = LatencySketch()
    sketch.add(values)
    return sketch


def exact(values: list[float], q: float) -> float:
    return sorted(values)[math.floor(q * (len(values) - 1))]


def worst_error(values: list[float], sketch: LatencySketch) -> float:
    errors = []
    for q in QUANTILES:
        truth, estimate = exact(values, q), sketch.quantile(q)
        assert estimate is not None
        errors.append(abs(estimate - truth) / truth)
    return max(errors)


def same(one: LatencySketch, two: LatencySketch) -> bool:
    """Return whether two sketches are equal, sums to within rounding."""
    a, b = one.to_wire(), two.to_wire()
    sums = math.isclose(a.pop("sum"), b.pop("sum"), rel_tol=1e-9, abs_tol=1e-12)
    return sums and a == b and one.count == two.count


@pytest.mark.parametrize("size", [1, 2, 3, 10, 101, 5000])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_quantiles_are_within_the_error_bound(name: str, size: int) -> None:
    source = random.Random(f"{name} {size}")
    values = [DISTRIBUTIONS[name](source) for _ in range(size)]
    assert worst_error(values, sketch_of(values)) <= ACCURACY + ROUNDING


def test_worst_error_detects_a_larger_error() -> None:
    values = [0.01 * k for k in range(1, 200)]
    off_by_two_percent = sketch_of([1.02 * v for v in values])
    assert worst_error(values, off_by_two_percent) > ACCURACY


def test_the_error_bound_is_tight() -> None:
    source = random.Random(4)
    values = [source.uniform(0.001, 10) for _ in range(20_000)]
    assert worst_error(values, sketch_of(values)) > ACCURACY / 2


@given(st.lists(durations.filter(lambda v: v > 2 * FLOOR), min_size=1, max_size=60), st.floats(0, 1))
def test_any_quantile_of_any_values_is_within_the_error_bound(values: list[float], q: float) -> None:
    estimate = sketch_of(values).quantile(q)
    assert estimate is not None
    assert estimate == pytest.approx(exact(values, q), rel=ACCURACY + ROUNDING)


@given(st.lists(st.lists(durations, max_size=20), max_size=6), st.randoms(use_true_random=False))
def test_merging_in_any_order_equals_one_sketch(parts: list[list[float]], shuffle: random.Random) -> None:
    combined = sketch_of([v for part in parts for v in part])
    heap = [sketch_of(part) for part in parts] or [LatencySketch()]
    while len(heap) > 1:
        shuffle.shuffle(heap)
        one, other = heap.pop(), heap.pop()
        one.merge(other)
        heap.append(one)
    assert same(heap[0], combined)
    assert [heap[0].quantile(q) for q in QUANTILES] == [combined.quantile(q) for q in QUANTILES]


@given(st.lists(durations, max_size=20), st.lists(durations, max_size=20))
def test_merging_does_not_change_the_argument(left: list[float], right: list[float]) -> None:
    one, other = sketch_of(left), sketch_of(right)
    before = other.to_wire()
    one.merge(other)
    one.add([0.5, 0.0])
    assert other.to_wire() == before


@given(st.lists(durations, max_size=40))
def test_json_round_trip_is_lossless(values: list[float]) -> None:
    one = sketch_of(values)
    back = LatencySketch.from_wire(json.loads(json.dumps(one.to_wire())))
    assert back.to_wire() == one.to_wire()
    assert [back.quantile(q) for q in QUANTILES] == [one.quantile(q) for q in QUANTILES]
    back.add([0.25])
    one.add([0.25])
    assert same(back, one)


def test_count_sum_minimum_and_maximum_are_exact() -> None:
    values = [0.003, 0.5, 0.0, 17.25]
    sketch = sketch_of(values)
    assert (sketch.count, sketch.minimum, sketch.maximum) == (4, 0.0, 17.25)
    assert sketch.total == statistics.fsum(values)


def test_serialization_does_not_depend_on_the_order_of_values() -> None:
    forth, back = sketch_of([0.5, 0.01, 2.0, 0.01]), sketch_of([0.01, 2.0, 0.01, 0.5])
    assert json.dumps(forth.to_wire()) == json.dumps(back.to_wire())


def test_reads_the_format_of_older_run_directories() -> None:
    golden = (
        '{"accuracy": 0.005, "low": 2, "sum": 4.5345, "min": 0.0, "max": 4.25, '
        '"bins": {"-400": 1, "-399": 1, "-139": 1, "145": 1}}'
    )
    sketch = sketch_of([0.0, 5e-7, 0.0183, 0.0184, 0.2477995, 4.25])
    sketch.total = 4.5345  # only the bins must not change
    assert json.dumps(sketch.to_wire()) == golden
    assert LatencySketch.from_wire(json.loads(golden)).quantile(1.0) == pytest.approx(4.25, rel=ACCURACY)


def test_rejects_another_accuracy() -> None:
    wire = sketch_of([0.1]).to_wire() | {"accuracy": 0.01}
    with pytest.raises(ValueError, match=r"accuracy: 0\.01"):
        LatencySketch.from_wire(wire)


def test_an_empty_sketch_has_no_quantile_and_can_be_serialized() -> None:
    empty = LatencySketch()
    assert empty.quantile(0.5) is None
    back = LatencySketch.from_wire(empty.to_wire())
    assert back.count == 0
    back.merge(sketch_of([0.2]))
    assert (back.minimum, back.maximum) == (0.2, 0.2)


def test_values_up_to_a_microsecond_count_as_zero() -> None:
    sketch = sketch_of([0.0, FLOOR, 0.1])
    assert (sketch.count, sketch.quantile(0.0), sketch.quantile(0.5)) == (3, 0.0, 0.0)
    assert sketch.quantile(1.0) == pytest.approx(0.1, rel=ACCURACY)


@pytest.mark.parametrize("bad", [-1e-9, math.nan, math.inf, -math.inf])
def test_rejects_invalid_durations(bad: float) -> None:
    with pytest.raises(ValueError, match="a duration must be"):
        sketch_of([bad])


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_rejects_quantiles_outside_0_to_1(q: float) -> None:
    with pytest.raises(ValueError, match="quantile must be"):
        sketch_of([0.1]).quantile(q)


def test_bins_have_values_and_counts() -> None:
    sketch = LatencySketch()
    sketch.add([0.0, 0.02, 0.02, 0.3, 7.0])
    bins = sketch.bins()
    assert [count for _, count in bins] == [1, 2, 1, 1]
    assert [value for value, _ in bins] == pytest.approx([0.0, 0.02, 0.3, 7.0], rel=ACCURACY)
