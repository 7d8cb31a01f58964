"""Pictures from tensors; figures and frames as PNG, GIF, and SVG in the colours of a page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from weft.atomic import atomic_writer
from weft.plots.style import GRID, INK, MUTED, PALETTE, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont
    from torch import Tensor

Named = tuple[str, str, "Figure"]
"""Name (of a file, without suffix), caption, figure."""


def file_name(text: str) -> str:
    """`text` as the name of a picture's file: characters that some file system lacks become `-`."""
    return re.sub(r"[^\w.-]+", "-", text)


def in_unit(images: Tensor) -> Tensor:
    """Brightness scaled to [0, 1] from the least to the largest value, float32, on the CPU."""
    images = images.cpu().float()
    low, high = images.amin(), images.amax()
    return (images - low) / (high - low).clamp(min=1e-12)


def enlarged(pixels: Tensor, scale: int) -> Image:
    """Colours (H, W, 3) in [0, 1] as a picture, each pixel drawn as `scale` x `scale` pixels."""
    from PIL import Image

    picture = Image.fromarray((pixels * 255).round().byte().contiguous().numpy())
    size = (scale * picture.width, scale * picture.height)
    return picture.resize(size, Image.Resampling.NEAREST)


def letters(size: int = 14) -> FreeTypeFont:
    """The font of the figures at `size` pixels, for text in pictures."""
    from matplotlib.font_manager import findfont
    from PIL import ImageFont

    return ImageFont.truetype(findfont("DejaVu Sans"), size)


def spread(total: int, wanted: int) -> list[int]:
    """At most `wanted` of the indices 0..total-1, evenly spread, the first and last included."""
    return sorted({round(i * (total - 1) / max(1, wanted - 1)) for i in range(wanted)})


def save(figure: Figure, path: Path) -> None:
    """Writes `figure` as a PNG of 150 dots an inch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_writer(path) as file:
        file.write(png(figure))


def save_animation(frames: Sequence[Image], path: Path, milliseconds: int = 250) -> None:
    """Writes `frames` as an animated GIF that repeats."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = frames
    with atomic_writer(path) as file:
        first.save(file, "GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0)


def png(figure: Figure) -> bytes:
    """`figure` as a PNG of 150 dots an inch."""
    data = io.BytesIO()
    with style(), _any_script():
        figure.savefig(data, format="png", dpi=150)
    return data.getvalue()


@contextmanager
def _any_script() -> Iterator[None]:
    """Says nothing of characters that the font lacks: a page is shown in the reader's own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def svg(figure: Figure, prefix: str = "") -> str:
    """`figure` as an SVG element for an HTML page, in the page's colours and font.

    Colours of the style become `var(--ink)`, `var(--muted)`, `var(--grid)` and `var(--line-0)` …,
    the font `var(--font)`, each with the printed one as fallback.

    Args:
        prefix: put before every id, so that ids are unique on a page.
    """
    text = io.StringIO()
    with style(), _any_script():
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
