"""Numbers with units, as a reader sees them: two significant digits, but every digit of a count.

Page, terminal, summary and the sentences of `capacity.json` share these functions. Missing is a dash, never zero.
"""

import math

from probe_ext.measure.rate import Rate

DASH = "–"


def seconds(value: float | None) -> str:
    """Format seconds: `0.35 ms`, `8.7 ms`, `24 ms`, `0.12 s`, `7.4 s`, `64 s`, `3 min 20 s`."""
    if value is None or math.isnan(value):
        return DASH
    if value == 0:
        return "0 s"
    if value < 0.0995:
        return f"{decimals(value * 1000)} ms" if value >= 0.000095 else f"{value * 1000:.2g} ms"
    return f"{decimals(value)} s" if value < 120 else span(value)


def bound(value: float) -> str:
    """Format a threshold or a tick of a scale in seconds: `10 ms`, `0.2 s`, `1 s`, `60 s`."""
    return f"{value * 1000:g} ms" if value < 0.095 else f"{value:g} s"


def tick(value: float) -> str:
    """Format a tick of a scale without unit: `0`, `0.5`, `1,000`."""
    return f"{value:,.0f}" if value == round(value) else f"{value:g}"


def speed(value: float) -> str:
    """Format a threshold of typing speed: `10/s`."""
    return f"{value:g}/s"


def decimals(value: float) -> str:
    """Format two significant digits or more: `0.12`, `7.4`, `64`, `1,204`."""
    if value < 0.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 9.95 else count(value)


def factor(value: float) -> str:
    """Format how many times as much something is, without the sign: `1.24`."""
    return f"{value:.2f}"


def ratio(value: float) -> str:
    """Format how many times as much something is: `1.24 ×`."""
    return f"{factor(value)} ×"


def rate(value: float | None) -> str:
    """Format tokens per second, without the unit: `609`, `27`, `9.2`."""
    return DASH if value is None or math.isnan(value) else decimals(value)


def span(value: float | None) -> str:
    """Format a duration: `45 s`, `9 min`, `3 min 20 s`, `1 h 5 min`."""
    if value is None or math.isnan(value):
        return DASH
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    big, small, units = (whole // 3600, whole % 3600 // 60, "h min") if whole >= 3600 else (*divmod(whole, 60), "min s")
    big_unit, small_unit = units.split()
    return f"{big} {big_unit} {small} {small_unit}" if small else f"{big} {big_unit}"


def moment(value: float) -> str:
    """Format a moment of the run: `0:40`, `12:05`, `1:02:00`."""
    whole = round(value)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def percent(fraction: float | None) -> str:
    """Format a fraction: `97 %`, `4.2 %`, `0.04 %`; `99.7 %` rather than a rounded 100 %."""
    if fraction is None or math.isnan(fraction):
        return DASH
    value = fraction * 100
    if 0 < value < 0.01:
        return "below 0.01 %"
    if value < 9.95:
        return f"{value:.2g} %"
    return f"{value:.1f} %" if 99 < value < 99.95 else f"{value:.0f} %"


def count(value: float | None) -> str:
    """Format a count: `2,214`; a rate in requests per second: `7.5`."""
    if isinstance(value, Rate):
        return f"{value:,}"
    return DASH if value is None or math.isnan(value) else f"{round(value):,}"
