"""The colours, markers and fonts of all figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Chosen to stay distinct under protanopia, deuteranopia and tritanopia (a test computes it) and to
# differ in lightness; the second row replaces the first on a dark page.
PALETTE = ("#1f83d6", "#dd6a2d", "#13614f", "#c2609f", "#54391a", "#392e68")
PALETTE_DARK = ("#4d94de", "#e0763a", "#62cfa4", "#e08fc8", "#f2e6b0", "#7b50d8")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", ":")
DOTTED = (0, (1, 1.6))
"""Dash pattern of lines that are not measured: an ideal, a guess or a bound."""
TRUTH = "0.25"
"""Grey of true values, drawn under the colours of predictions."""
INK, MUTED, GRID, PAPER = "#1b2430", "#667079", "#e3e7ea", "#ffffff"


def colour(number: int) -> str:
    """Colour of line `number`, counted from 0; the palette repeats after its last colour."""
    return f"C{number % len(PALETTE)}"


def line_of(number: int) -> tuple[str, str]:
    """Colour and dash pattern of line `number`, counted from 0: when the colours of the palette are
    used up, they come again with another pattern."""
    return PALETTE[number % len(PALETTE)], DASHES[number // len(PALETTE) % len(DASHES)]


@contextmanager
def style() -> Iterator[None]:
    """Applies weft's style to figures made within the block: colours, fonts, spines, grid. What a
    caller, or a matplotlibrc, has set does not reach them: pictures would stand on their heads.
    """
    import matplotlib
    from cycler import cycler

    settings: Any = {
        "figure.figsize": (6.4, 3.5),
        "figure.facecolor": PAPER,
        "figure.constrained_layout.use": True,
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": INK,
        "axes.prop_cycle": cycler(color=PALETTE),
        "axes.facecolor": "none",
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.7,
        "axes.labelcolor": MUTED,
        "axes.titlelocation": "left",
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.titlepad": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.7,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.major.width": 0.7,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "lines.linewidth": 1.7,
        "lines.markersize": 4.5,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "image.cmap": "cividis",
        "savefig.dpi": 150,
        "svg.fonttype": "none",
        "svg.hashsalt": "weft",
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield
