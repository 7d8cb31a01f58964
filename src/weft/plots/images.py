"""Figures and frames as files: PNG, GIF, and SVG that takes the colours of its page."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weft.plots.style import GRID, INK, MUTED, PALETTE, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

Named = tuple[str, str, "Figure"]
"""Name (of a file, without suffix), caption, figure."""


def save(figure: Figure, path: Path) -> None:
    """Writes `figure` as a PNG of 150 dots an inch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(figure))


def save_animation(frames: Sequence[Image], path: Path, milliseconds: int = 250) -> None:
    """Writes `frames` as an animated GIF that repeats."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = frames
    first.save(path, save_all=True, append_images=rest, duration=milliseconds, loop=0)


def png(figure: Figure) -> bytes:
    """`figure` as a PNG of 150 dots an inch."""
    data = io.BytesIO()
    with style():
        figure.savefig(data, format="png", dpi=150)
    return data.getvalue()


def svg(figure: Figure, prefix: str = "") -> str:
    """`figure` as an SVG element to stand in a page, in the page's own colours and type.

    Colours of the style become `var(--ink)`, `var(--muted)`, `var(--grid)` and `var(--line-0)` …,
    text `var(--font)`, each with the printed colour to fall back on.

    Args:
        prefix: put before every id, so that the figures of a page do not share any.
    """
    text = io.StringIO()
    with style():
        figure.savefig(
            text,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r' (width|height)="[\d.]+pt"', "", drawing, count=2)
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", drawing)
    drawing = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font, sans-serif)", drawing)
    names = {INK: "ink", MUTED: "muted", GRID: "grid"}
    names |= {colour: f"line-{number}" for number, colour in enumerate(PALETTE)}
    for colour, name in names.items():
        drawing = drawing.replace(colour, f"var(--{name}, {colour})")
    return drawing
