"""Figures of one run: rollouts of dots, and how the error grows over time."""

# T frames, B episodes, K dots, C channels, S pixels along a side

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from weft.plots.axes import bare, key_beside, label_axes
from weft.plots.images import Named, spread
from weft.plots.style import DOTTED, TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from weft.families.jepa.score.planning import Planned

EPISODES = 8
FILM_FRAMES = 9
_READ = ("C1", "C0", "C2")


@dataclass(frozen=True)
class Episodes:
    """Some episodes with what was read out of their rollouts.

    Attributes:
        image: frames, (B, T, C, S, S), in any unit.
        true, read: positions in pixels, (B, T, K, 2), as (x, y).
        low, high: the walls in pixels.
    """

    image: Tensor
    true: Tensor
    read: Tensor
    low: float
    high: float


def rollouts(episodes: Episodes) -> Named:
    """True and read paths of a few episodes, over their first frames."""
    figure, panels = _panels(min(EPISODES, len(episodes.true)))
    for number, axes in enumerate(panels):
        _picture(axes, episodes, number, frame=0)
        for dot in range(episodes.true.shape[2]):
            _paths(axes, episodes.true[number, :, dot], episodes.read[number, :, dot], dot)
        miss = (episodes.true[number] - episodes.read[number]).square().sum(-1).mean().sqrt()
        axes.set_title(f"{float(miss):.1f} px", fontsize=8.5, fontweight="normal", pad=3)
    _legend(figure, episodes.true.shape[2])
    frames = episodes.true.shape[1]
    caption = (
        f"Where the dot went and where the read-out places it, over {frames} frames. The model "
        "sees the first frame, drawn behind, and the actions; thin lines join both positions of a "
        "frame. Open circle: start; full: end; above: root mean squared distance."
    )
    return "rollouts", caption, figure


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels, at most four in a row."""
    from matplotlib.figure import Figure

    columns = min(4, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(2.15 * columns, 2.3 * rows + 0.35), layout="constrained")
    every = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in every[count:]:
        axes.set_axis_off()
    return figure, every[:count]


def film(episodes: Episodes) -> Named:
    """Frames of two episodes, the true position ringed and the read one crossed."""
    from matplotlib.figure import Figure

    shown = spread(episodes.true.shape[1], FILM_FRAMES)
    rows = min(2, len(episodes.true))
    figure = Figure(figsize=(1.02 * len(shown), 1.02 * rows + 0.22), layout="constrained")
    grid = figure.subplots(rows, len(shown), squeeze=False)
    for number, line in enumerate(grid):
        for axes, frame in zip(line, shown, strict=True):
            _picture(axes, episodes, number, frame, strength=1.0, walls=False)
            for dot in range(episodes.true.shape[2]):
                colour = _READ[dot % len(_READ)]
                x, y = episodes.true[number, frame, dot].tolist()
                axes.plot(x, y, "o", markersize=11, markerfacecolor="none", color=colour,
                          markeredgewidth=1.0, alpha=0.9)  # fmt: skip
                x, y = episodes.read[number, frame, dot].tolist()
                axes.plot(x, y, "x", markersize=6, color=colour, markeredgewidth=1.6)
            if number == 0:
                axes.set_title(f"t = {frame}", fontsize=8, fontweight="normal", pad=3)
    caption = (
        "What the camera sees. Ring: where the dot is; cross: where the rollout, which saw the "
        "first frame and the actions only, says it is."
    )
    return "film", caption, figure


def reconstructions(true: Tensor, decoded: Tensor) -> Named:
    """Frames of an episode, and below them the frames decoded from their codes.

    Args:
        true, decoded: (T, C, S, S), in the same unit.
    """
    from matplotlib.figure import Figure

    shown = spread(len(true), FILM_FRAMES)
    figure = Figure(figsize=(1.02 * len(shown) + 0.6, 2.3), layout="constrained")
    grid = figure.subplots(2, len(shown), squeeze=False)
    for line, frames, name in zip(grid, (true, decoded), ("true", "decoded"), strict=True):
        for axes, frame in zip(line, shown, strict=True):
            _show(axes, frames[frame], true)
            if name == "true":
                axes.set_title(f"t = {frame}", fontsize=8, fontweight="normal", pad=3)
        line[0].set_ylabel(name)
    caption = "Frames of an episode, and what the decoder makes of their codes, in one grey scale."
    return "reconstructions", caption, figure


def plans(planned: Planned, low: float, high: float) -> Named:
    """The paths on which plans led the first dot, and the goals.

    Args:
        planned: episodes of plans.
        low, high: the walls in pixels.
    """
    figure, panels = _panels(min(EPISODES, len(planned.goal)))
    for number, axes in enumerate(panels):
        _show(axes, planned.frame[number], planned.frame[number], 0.55)
        axes.add_patch(_rectangle(low, high - low))
        path, goal = planned.path[number].cpu(), planned.goal[number].cpu()
        axes.plot(*path.T.numpy(), "o-", color=_READ[0], linewidth=1.5, markersize=2.5)
        axes.plot(*path[0].tolist(), "o", markersize=5, markerfacecolor="white", color=_READ[0])
        axes.plot(*goal.tolist(), "*", markersize=9, color=TRUTH)
        miss = float((path[-1] - goal).norm())
        axes.set_title(f"{miss:.1f} px", fontsize=8.5, fontweight="normal", pad=3)
    caption = (
        "Where planned actions led the dot in the true world. Open circle: start; star: goal; "
        "above: distance from the goal at the end."
    )
    return "plans", caption, figure


def error_over_time(errors: Sequence[float], encoder: float, guess: Sequence[float]) -> Named:
    """Root mean squared error of each frame of the rollout.

    Args:
        errors: pixels, one per frame.
        encoder: error of the encoder's own read-out of the first frame, pixels.
        guess: error of always guessing the centre, pixels, one per frame.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    time = range(len(errors))
    axes.plot(time, guess, color="0.6", linestyle=DOTTED, label="always the centre")
    axes.plot(time, errors, "o-", color="C0", markersize=4, label="rollout")
    axes.plot([0], [encoder], "D", color="C1", markersize=5.5, label="encoder alone")
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", integer=True)
    label_axes(axes, "How long the rollout knows where the dot is", "frame", "RMSE (px)")
    key_beside(axes)
    caption = (
        "Root mean squared Euclidean distance (over x and y together) between the dot and the "
        "read-out of the rollout, frame by frame, on held-out episodes."
    )
    return "error_over_time", caption, figure


def error_over_training(
    history: Sequence[Mapping[str, Any]], guess: Sequence[float]
) -> Iterator[Named]:
    """Error of each frame at each evaluation, early ones pale; nothing for one evaluation.

    Args:
        history: rows of metrics.
        guess: error of always guessing the centre, pixels, one per frame.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    stem = "val/step_rmse_px_"
    lines: dict[int, list[tuple[int, float]]] = {}
    for row in history:
        points = [
            (int(key.removeprefix(stem)), math.nan if value is None else float(value))
            for key, value in row.items()
            if key.startswith(stem)
        ]
        if points:
            lines[int(row["step"])] = sorted(points)
    if len(lines) < 2:
        return
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    chosen = [step for n, step in enumerate(lines) if n % -(-len(lines) // 8) == 0]
    chosen = sorted({*chosen, max(lines)})
    for number, step in enumerate(chosen):
        shade = colormaps["viridis_r"](0.12 + 0.88 * number / max(1, len(chosen) - 1))
        axes.plot(
            *zip(*lines[step], strict=True), "o-", color=shade, markersize=3, label=f"{step:,}"
        )
    axes.plot(guess, color="0.6", linestyle=DOTTED, zorder=0, label="always\nthe centre")
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", integer=True)
    label_axes(axes, "Error by frame as training goes on", "frame", "RMSE (px)")
    key_beside(axes, "step")
    caption = (
        "Rollout error of each frame on the validation episodes, at several moments of training."
    )
    yield "error_over_training", caption, figure


def _picture(
    axes: Axes, episodes: Episodes, number: int, frame: int, *, strength: float = 0.55,
    walls: bool = True,
) -> None:  # fmt: skip
    """A frame of an episode, with the walls that stop its dots."""
    episode = episodes.image[number]
    _show(axes, episode[frame], episode, strength)
    if walls:
        side = episodes.high - episodes.low
        axes.add_patch(_rectangle(episodes.low, side))


def _show(axes: Axes, frame: Tensor, scale: Tensor, strength: float = 1.0) -> None:
    """A frame (C, S, S) in pixel coordinates, from white at the minimum of `scale` to black."""
    image, scale = (t.float().cpu().mean(-3) for t in (frame, scale))
    axes.imshow(
        image.numpy(), cmap="gray_r", alpha=strength, interpolation="nearest",
        vmin=float(scale.min()), vmax=float(scale.max()) + 1e-9,
    )  # fmt: skip
    size = image.shape[-1]
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
    bare(axes, frame="0.8")


def _rectangle(low: float, side: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((low, low), side, side, fill=False, edgecolor="0.6", linewidth=0.8,
                     linestyle=DOTTED)  # fmt: skip


def _paths(axes: Axes, true: Tensor, read: Tensor, dot: int) -> None:
    """Two paths (T, 2), with lines between the positions of equal times."""
    from matplotlib.collections import LineCollection

    true, read = true.cpu(), read.cpu()
    colour = _READ[dot % len(_READ)]
    joins = [(a, b) for a, b in zip(true.tolist(), read.tolist(), strict=True)]
    axes.add_collection(LineCollection(joins, colors=colour, linewidths=0.7, alpha=0.45))
    for path, paint, width in ((true, TRUTH, 1.5), (read, colour, 1.7)):
        axes.plot(*path.T.numpy(), color=paint, linewidth=width, alpha=0.95,
                  solid_joinstyle="round")  # fmt: skip
        axes.plot(*path[0].tolist(), "o", markersize=5, markerfacecolor="white", color=paint,
                  markeredgewidth=1.3)  # fmt: skip
        axes.plot(*path[-1].tolist(), "o", markersize=5, color=paint)


def _legend(figure: Figure, num_dots: int) -> None:
    from matplotlib.lines import Line2D

    names = ["read out"] if num_dots == 1 else [f"dot {k + 1} read out" for k in range(num_dots)]
    lines = [Line2D([], [], color=TRUTH, linewidth=1.5)]
    lines += [Line2D([], [], color=_READ[k % len(_READ)], linewidth=1.7) for k in range(num_dots)]
    figure.legend(lines, ["true path", *names], loc="outside lower center", ncols=4)
