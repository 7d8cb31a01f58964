"""Axes: their labels, a key beside them, and pictures that need neither ticks nor grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_FEW = 40
"""Points of a line that are marked."""


def label_axes(axes: Axes, title: str, x: str, y: str) -> None:
    """Writes the title and the names of both axes; an empty one leaves its place free."""
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def key_beside(axes: Axes, title: str = "") -> None:
    """Puts the key of lines and colours to the right of the axes, where it hides nothing; none of
    axes on which nothing has a name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title=title or None, loc="center left", bbox_to_anchor=(1.0, 0.5))


def marks(points: int) -> str:
    """The marker of a line of few points, of which one alone would draw nothing."""
    return "o" if points <= _FEW else ""


def bare(axes: Axes, frame: str | None = None) -> None:
    """Leaves of the axes the picture alone.

    Args:
        axes: that show a picture.
        frame: colour of a line around the picture; None: no line.
    """
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(frame is not None)
        if frame is not None:
            spine.set_color(frame)
