"""Figures in a page: drawings in its colours, pictures held inside it, two abreast."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weft.plots.images import png, svg
from weft.reports.html import safe
from weft.run.files import read_index
from weft.terminal import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LARGEST_SVG = 1_500_000
"""Characters from which a figure is drawn as a picture of dots instead of lines."""


@dataclass(frozen=True)
class Picture:
    """A figure as an HTML element; a wide one takes the whole row."""

    caption: str
    element: str
    wide: bool = False


def drawn(number: int, name: str, caption: str, figure: Figure) -> Picture:
    """A figure as lines in the page's colours, or as dots where it would be too long."""
    wide = figure.get_figwidth() > 2.2 * figure.get_figheight()
    drawing = svg(figure, prefix=f"figure-{number}-")
    if len(drawing) > _LARGEST_SVG:
        return Picture(caption, _image(png(figure), name), wide)
    named = f'<svg role="img" aria-label="{safe(name)}" {_size(figure.get_figwidth())}'
    return Picture(caption, drawing.replace("<svg", named, 1), wide)


def samples(folder: Path) -> list[Picture]:
    """The pictures and texts that `weft sample` left in the run."""
    index = folder / "index.json"
    if not index.is_file():
        return []
    pictures = []
    for entry in read_index(index):
        # The name alone: an index that points outside of the folder is not followed.
        file = folder / Path(entry["file"]).name
        if not file.is_file():
            continue
        if file.suffix == ".txt":
            text = safe(printable(file.read_text(encoding="utf-8", errors="replace")))
            element = f'<pre aria-label="{safe(entry["name"])}">{text}</pre>'
            pictures.append(Picture(entry["caption"], element, wide=True))
        else:
            pictures.append(Picture(entry["caption"], _image(file.read_bytes(), entry["name"])))
    return pictures


def gallery(pictures: Sequence[Picture]) -> str:
    """Figures two abreast, each of a size; a wide one, or one left alone, has the whole row."""
    items: list[str] = []
    beside = False
    for number, picture in enumerate(pictures):
        following = pictures[number + 1] if number + 1 < len(pictures) else None
        alone = not (picture.wide or beside) and (following is None or following.wide)
        beside = not (picture.wide or alone or beside)
        note = f"<figcaption>{safe(picture.caption)}</figcaption>" if picture.caption else ""
        kind = ' class="wide"' if picture.wide else ' class="alone"' if alone else ""
        items.append(f"<figure{kind}>{picture.element}{note}</figure>")
    return f'<div class="figures">{"".join(items)}</div>' if items else ""


def _image(data: bytes, name: str) -> str:
    encoded = base64.b64encode(data).decode()
    if data.startswith(b"GIF"):
        return f'<img src="data:image/gif;base64,{encoded}" alt="{safe(name)}">'
    # The width stands in bytes 16 to 20 of a PNG; ours have 150 dots an inch.
    inches = int.from_bytes(data[16:20], "big") / 150
    return f'<img src="data:image/png;base64,{encoded}" alt="{safe(name)}" {_size(inches)}>'


def _size(inches: float) -> str:
    """Not beyond the figure's own size, or the type of a small one would outgrow the page's."""
    return f'style="max-width:{7.8 * inches:.1f}rem"'
