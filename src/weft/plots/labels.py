"""Text in figures: title and subtitle, and names of lines written at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weft.plots.style import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONGEST_NAME = 28
"""Characters of a name beside a line."""


def head(axes: Axes, title: str, subtitle: str) -> None:
    """Writes the title and, below it in grey, the subtitle if it is not empty."""
    axes.set_title(plain(title), pad=20 if subtitle else 8)
    if subtitle:
        axes.annotate(
            subtitle,
            (0, 1),
            xytext=(0, 7),
            xycoords="axes fraction",
            textcoords="offset points",
            color=MUTED,
            fontsize=8.5,
        )


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]], heading: str = "") -> None:
    """Writes each line's name at its right end, moved apart so that no two overlap.

    Args:
        ends: height in data units, name and colour of each line.
        heading: written above the names.
    """
    axes.autoscale_view()
    scale = axes.transScale + axes.transLimits
    wanted = sorted(
        (
            (float(scale.transform((axes.get_xlim()[1], y))[1]), text, colour)
            for y, text, colour in ends
        ),
    )
    figure = axes.get_figure(root=True)
    assert figure is not None
    # Height of a line of 8.5 pt text as a share of the axes, which take 3/4 of the figure.
    gap = 8.5 * 1.3 / (72 * 0.75 * figure.get_figheight())
    for height, (_, text, colour) in zip(_spread([w[0] for w in wanted], gap), wanted, strict=True):
        axes.annotate(
            plain(_shortened(text)),
            (1, height),
            xytext=(8, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=8.5,
            annotation_clip=False,
        )
    if heading and ends:
        axes.annotate(
            plain(heading),
            (1, 1),
            xytext=(8, 7),
            xycoords="axes fraction",
            textcoords="offset points",
            color=MUTED,
            fontsize=8.5,
            annotation_clip=False,
        )


def _shortened(name: str) -> str:
    """A name that leaves room for the lines: of a long one its start and its end."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[:half]}…{name[-half:]}"


def _spread(heights: list[float], gap: float) -> list[float]:
    """Ascending heights, moved so that neighbours are at least `gap` apart and none is above 1.

    Neighbours that are too close form a block around their mean; blocks that touch merge.
    """
    blocks: list[tuple[float, int]] = []
    for height in heights:
        centre, count = height, 1
        while True:
            centre = min(centre, 1 - (count - 1) * gap / 2)
            if not blocks or centre - blocks[-1][0] >= gap * (count + blocks[-1][1]) / 2:
                break
            before, size = blocks.pop()
            centre = (before * size + centre * count) / (size + count)
            count += size
        blocks.append((centre, count))
    return [
        centre + (place - (count - 1) / 2) * gap
        for centre, count in blocks
        for place in range(count)
    ]


def many(count: int, thing: str) -> str:
    """`1 run`, `1,200 runs`."""
    return f"{count:,} {thing}" + "s" * (count != 1)


def plain(text: str) -> str:
    """Text with `$` escaped, so that matplotlib does not read it as mathematics."""
    return text.replace("$", r"\$")
