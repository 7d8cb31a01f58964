"""What the family draws: its error while it learns, and the curve it has learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from weft.plots.history import curve_of
from weft.plots.images import Named
from weft.plots.labels import head

if TYPE_CHECKING:
    from torch import Tensor


def worst_points(history: Sequence[dict[str, Any]]) -> Named:
    """The largest error of a batch over the steps, from the rows that have it."""
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.add_subplot()
    axes.plot(*zip(*curve_of(history, "train/largest_error"), strict=True))
    axes.set(xlabel="step", ylabel="largest error of a batch")
    head(axes, "The worst point", "of each batch that was logged")
    return "worst_points", "The largest error of a batch while the curve is learnt.", figure


def curve(x: Tensor, y: Tensor, predicted: Tensor) -> Named:
    """Held-out points and the learnt curve through them, each (N, 1)."""
    from matplotlib.figure import Figure

    order = x.flatten().argsort()
    places = x.flatten()[order].tolist()
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot(places, y.flatten()[order].tolist(), ".", color="C1", label="held-out points")
    axes.plot(places, predicted.flatten()[order].tolist(), color="C0", label="the learnt curve")
    axes.set(xlabel="x", ylabel="y")
    axes.legend()
    head(axes, "What was learnt", f"{len(places)} points that were not")
    return "curve", "The learnt curve among points it has not seen.", figure
