"""Colours stay apart and readable for everyone, and the style ends with its block."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from weft.plots.images import save
from weft.plots.style import PALETTE, PALETTE_DARK, PAPER, colour, style

# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
DARK_CARD = "#161b20"


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* under D65 of linear RGB."""
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    dark, light = sorted(float(weights @ linear(colour)) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", [PALETTE, PALETTE_DARK])
@pytest.mark.parametrize("sight", SIGHT)
def test_line_colours_stay_apart_for_every_kind_of_sight(
    palette: tuple[str, ...], sight: str
) -> None:
    seen = [lab(SIGHT[sight] @ linear(colour)) for colour in palette]
    distances = [float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2)]
    # 2.3 is just noticeable side by side; matplotlib's own default colours come down to 4.6.
    assert min(distances) > 15


@pytest.mark.parametrize(("palette", "page"), [(PALETTE, PAPER), (PALETTE_DARK, DARK_CARD)])
def test_lines_stand_out_from_the_page(palette: tuple[str, ...], page: str) -> None:
    assert min(contrast(colour, page) for colour in palette) > 3


def test_the_style_ends_with_its_block() -> None:
    before = dict(rcParams)
    with style():
        assert rcParams["axes.prop_cycle"].by_key()["color"] == list(PALETTE)
    assert dict(rcParams) == before


def test_line_numbers_go_round_the_palette() -> None:
    assert [colour(number) for number in (0, 5, 6)] == ["C0", "C5", "C0"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image.origin", "lower"), ("text.usetex", True), ("savefig.transparent", True),
        ("savefig.bbox", "tight"), ("savefig.facecolor", "red"), ("axes.xmargin", 0.5),
    ],
)  # fmt: skip
def test_what_a_caller_set_in_matplotlib_does_not_reach_a_figure(
    name: str, value: object, tmp_path: Path
) -> None:
    def drawn(file: str) -> bytes:
        with style():
            figure = Figure()
            axes = figure.add_subplot()
            axes.imshow([[0, 1], [2, 3]])
            axes.set_title("a % of $x$")
            save(figure, tmp_path / file)
        return (tmp_path / file).read_bytes()

    plain = drawn("plain.png")
    with matplotlib.rc_context({name: value}):
        own = dict(matplotlib.rcParams)
        assert drawn("own.png") == plain
        assert dict(matplotlib.rcParams) == own
