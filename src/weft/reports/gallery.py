"""Figures on a page: drawings in its colours and embedded pictures, two in a row."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weft.plots.images import png, svg
from weft.reports.html import prose, safe
from weft.run.files import read_index
from weft.terminal import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST_SVG = 1_500_000
"""A figure with more characters than this as SVG is embedded as PNG instead."""


@dataclass(frozen=True)
class Picture:
    """A figure as an HTML element; a wide one takes the whole row."""

    caption: str
    element: str
    wide: bool = False


def drawn(number: int, name: str, caption: str, figure: Figure) -> Picture:
    """A figure as SVG in the page's colours, or as PNG if the SVG would be too long."""
    wide = _is_wide(figure.get_figwidth(), figure.get_figheight())
    drawing = svg(figure, prefix=f"figure-{number}-")
    if len(drawing) > _LARGEST_SVG:
        return Picture(caption, _image(png(figure), name), wide)
    named = f'<svg role="img" aria-label="{safe(name)}" {_size(_inches(figure.get_figwidth()))}'
    return Picture(caption, drawing.replace("<svg", named, 1), wide)


def samples(folder: Path) -> list[Picture]:
    """The pictures and texts that `weft sample` left in the run."""
    index = folder / "index.json"
    if not index.is_file():
        return []
    pictures = []
    for entry in read_index(index):
        # Only the file's name: an index that points outside the folder is not followed.
        file = folder / Path(entry["file"]).name
        if not file.is_file():
            continue
        if file.suffix == ".txt":
            text = safe(printable(file.read_text(encoding="utf-8", errors="replace")))
            element = f'<pre aria-label="{safe(entry["name"])}">{text}</pre>'
            pictures.append(Picture(entry["caption"], element, wide=True))
        else:
            data = file.read_bytes()
            wide = _is_wide(*_pixels(data))
            pictures.append(Picture(entry["caption"], _image(data, entry["name"]), wide))
    return pictures


def gallery(pictures: Sequence[Picture]) -> str:
    """Figures as HTML, two in a row; a wide one, or one left alone, gets the whole row."""
    items: list[str] = []
    beside = False
    for number, picture in enumerate(pictures):
        following = pictures[number + 1] if number + 1 < len(pictures) else None
        alone = not (picture.wide or beside) and (following is None or following.wide)
        beside = not (picture.wide or alone or beside)
        note = f"<figcaption>{prose(picture.caption)}</figcaption>" if picture.caption else ""
        kind = ' class="wide"' if picture.wide else ' class="alone"' if alone else ""
        items.append(f"<figure{kind}>{picture.element}{note}</figure>")
    return f'<div class="figures">{"".join(items)}</div>' if items else ""


def _image(data: bytes, name: str) -> str:
    encoded = base64.b64encode(data).decode()
    width, _ = _pixels(data)
    if data.startswith(b"GIF"):
        # Drawn at its own size, an animation's text is as large as the page's.
        kind, size = "gif", _size(f"{width}px")
    else:
        kind, size = "png", _size(_inches(width / 150))
    return f'<img src="data:image/{kind};base64,{encoded}" alt="{safe(name)}" {size}>'


def _pixels(data: bytes) -> tuple[int, int]:
    """Width and height of a GIF or PNG, read from its first bytes."""
    if data.startswith(b"GIF"):
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _is_wide(width: float, height: float) -> bool:
    return width > 2.2 * height


def _inches(width: float) -> str:
    return f"{7.8 * width:.1f}rem"


def _size(own: str) -> str:
    """The style that keeps a figure at its own size at most, so that its text is not enlarged."""
    return f'style="--own:{own};max-width:var(--own)"'
