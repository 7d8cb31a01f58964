"""Axes of figures: labels, legend, markers, and axes that only show a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_FEW = 40
"""Lines of at most this many points get markers."""


def label_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Writes the title and the names of both axes; an empty text writes nothing."""
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def key_beside(axes: Axes, title: str = "") -> None:
    """Puts the legend to the right of the axes, where it hides nothing, if anything has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title=title or None, loc="center left", bbox_to_anchor=(1.0, 0.5))


def marks(points: int) -> str:
    """The marker for a line: a dot for few points (a single one would not show), else none."""
    return "o" if points <= _FEW else ""


def bare(axes: Axes, frame: str | None = None) -> None:
    """Removes ticks, grid and spines from axes that show a picture.

    Args:
        axes: to change.
        frame: colour of a line around the picture; None for no line.
    """
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(frame is not None)
        if frame is not None:
            spine.set_color(frame)
