"""Figures of reinforcement learning: returns over time, and one episode."""

# B time steps, O numbers observed, A actions

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from weft.plots.axes import key_beside, label_axes, marks
from weft.plots.history import curve_of
from weft.plots.images import Named
from weft.plots.style import DOTTED, colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def returns(history: Sequence[Mapping[str, Any]], steps: int) -> Named:
    """Returns during training and of held-out episodes, with that of random actions.

    Args:
        history: rows of metrics.jsonl.
        steps: steps of environments in one update.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.8, 3.6), layout="constrained")
    axes = figure.add_subplot()
    lines = {
        "train/return": "while learning (last 100 episodes)",
        "val/return": "likeliest actions, held-out episodes",
    }
    for number, (key, name) in enumerate(lines.items()):
        points = [(step * steps, value) for step, value in curve_of(history, key)]
        if points:
            mark = marks(len(points))
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=colour(number), label=name, marker=mark, markersize=3)
    chance = curve_of(history, "val/random")
    if chance:
        axes.axhline(chance[-1][1], color="0.5", linewidth=1.2, linestyle=DOTTED, label="at random")
    label_axes(axes, "Return", "steps of all environments", "return of an episode")
    axes.legend(loc="best")
    caption = (
        "Return of an episode over learning: with actions drawn, averaged over the last hundred "
        "episodes, and with the likeliest action in episodes that are held out; dotted, the same "
        "episodes with actions at random."
    )
    return "returns", caption, figure


def episode(observations: Tensor, shares: Tensor, values: Tensor, total: float) -> Named:
    """One episode: observations, probabilities of actions, and the critic's values.

    Args:
        observations: (B, O).
        shares: probabilities of actions, (B, A).
        values: expected returns, in units of the environment's rewards, (B,).
        total: the return of the episode.
    """
    from matplotlib.figure import Figure

    figure: Figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    above, middle, below = figure.subplots(3, 1, sharex=True)
    time = range(len(observations))
    for axes, curves, name in ((above, observations, "observed"), (middle, shares, "action")):
        for number, curve in enumerate(curves.mT.numpy()):
            axes.plot(time, curve, color=colour(number), linewidth=1.2, label=str(number))
        key_beside(axes, name)
    label_axes(above, f"A held-out episode (return {total:.4g})", "", "observed")
    label_axes(middle, "", "", "probability")
    middle.set_ylim(-0.03, 1.03)
    below.plot(time, values.numpy(), color="0.3", linewidth=1.2)
    label_axes(below, "", "time (steps)", "expected return")
    caption = (
        "One held-out episode in which the likeliest action is always taken: the numbers "
        "observed, the probabilities of all actions, and the discounted return that the critic "
        "expects."
    )
    return "episode", caption, figure
