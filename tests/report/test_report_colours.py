"""The page's colours, computed from its style sheet: contrast, and three states that are always distinguishable.

Contrast is WCAG 2.2's ratio. Colour blindness is simulated by the matrices of Machado, Oliveira, Fernandes, "A
physiologically-based model for simulation of color vision deficiency", IEEE TVCG 2009, severity 1; the distance of two
colours is CIE 1976 ΔE in L*a*b*, of which about 2 is just visible.
"""

import itertools
import re

import numpy as np
import pytest

from probe_ext.page.environment import style

SEEN_AS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
MIN_DISTANCE = 20.0
"""Ten times the visible minimum."""
STYLE = str(style())


def palette(scheme: str) -> dict[str, str]:
    """The named colours of the light or the dark scheme."""
    root = re.findall(r":root\{([^}]*)\}", STYLE)[["light", "dark", "print"].index(scheme)]
    return dict(re.findall(r"--([\w-]+):(#[0-9a-f]{3,8})\b", root))


def linear(colour: str) -> np.ndarray:
    """Linear light of `#rgb` or `#rrggbb`."""
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:4])
    value = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG's ratio, 1 to 21."""
    bright = [float(linear(colour) @ [0.2126, 0.7152, 0.0722]) + 0.05 for colour in (one, other)]
    return max(bright) / min(bright)


def lab(light: np.ndarray) -> np.ndarray:
    """L*a*b* of linear sRGB, white D65."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    share = to_xyz @ np.clip(light, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(share > 0.008856, np.cbrt(share), 7.787 * share + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
@pytest.mark.parametrize("ink", ["ink", "mut", "acc", "st", "mt", "bt"])
def test_text_is_readable(scheme: str, ink: str) -> None:
    colours = palette(scheme)
    assert min(contrast(colours[ink], colours[paper]) for paper in ("bg", "card")) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("shape", ["s", "mt", "b", "acc", "u"])
def test_shapes_stand_out_from_the_paper(scheme: str, shape: str) -> None:
    colours = palette(scheme)  # the bar of strained users is drawn with a rim of `mt`: yellow alone is too light
    assert "rect.strained{stroke:var(--mt)}" in STYLE
    assert contrast(colours[shape], colours["bg"]) >= 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_on_bars_are_readable(scheme: str) -> None:
    colours = palette(scheme)
    assert contrast(colours["on-s"], colours["s"]) >= 4.5
    assert contrast("#1c1d1f", colours["m"]) >= 4.5
    assert contrast(colours["on-s"], colours["b"]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eye", SEEN_AS)
def test_served_strained_and_broken_are_distinguishable(scheme: str, eye: str) -> None:
    colours = palette(scheme)
    seen = {name: lab(SEEN_AS[eye] @ linear(colours[name])) for name in "smb"}
    apart = {a + b: float(np.linalg.norm(seen[a] - seen[b])) for a, b in itertools.combinations("smb", 2)}
    assert min(apart.values()) >= MIN_DISTANCE, apart


def test_the_check_detects_confusable_colours() -> None:
    seen = [lab(SEEN_AS["deuteranopia"] @ linear(colour)) for colour in ("#6a8f00", "#b07a00")]
    assert np.linalg.norm(seen[0] - seen[1]) < MIN_DISTANCE
