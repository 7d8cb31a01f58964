"""Figures of what a model predicts: completions, forecasts, errors by step, classes over time."""

# N sequences, T steps, d channels, K classes

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weft.plots.axes import label_axes
from weft.plots.images import Named
from weft.plots.style import DOTTED, TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 6
CHANNELS = 3
_GIVEN = "0.93"


@dataclass(frozen=True)
class Forecast:
    """Some sequences with what a model made of their beginnings.

    Attributes:
        truth: targets, (N, T, d).
        mean: predictions of the same steps, (N, T, d).
        std: their standard deviations, (N, T, d), or None.
        context: steps that were given; 0 if all were seen.
        start: first real step of each sequence, (N,), or None if they all fill T.
    """

    truth: Tensor
    mean: Tensor
    std: Tensor | None
    context: int
    start: Tensor | None = None


def series(forecast: Forecast) -> Named:
    """Sequences in time with the mean that was predicted and two deviations on either side."""
    from matplotlib.figure import Figure

    count = min(PANELS, len(forecast.truth))
    columns = min(3, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(2.75 * columns, 1.75 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True)
    channels = min(CHANNELS, forecast.truth.shape[-1])
    for number, axes in enumerate(panels.flat):
        if number >= count:
            axes.set_axis_off()
            continue
        _one_series(axes, forecast, number, channels)
    for axes in panels[-1]:
        axes.set_xlabel("step")
    _legend(figure, forecast, channels)
    shown = forecast.truth.shape[-1]
    caption = (
        f"Given: the first {forecast.context} steps (shaded). "
        if forecast.context
        else "All steps were seen. "
    )
    caption += "Grey: truth; coloured: prediction"
    caption += ", with two standard deviations on either side." if forecast.std is not None else "."
    if shown > channels:
        caption += f" The first {channels} of {shown} channels are drawn."
    return "forecasts", caption, figure


def _one_series(axes: Axes, forecast: Forecast, number: int, channels: int) -> None:
    steps = forecast.truth.shape[1]
    first = 0 if forecast.start is None else int(forecast.start[number])
    time = range(first, steps)
    if forecast.context:
        axes.axvspan(0, forecast.context - 0.5, color=_GIVEN, zorder=0, linewidth=0)
    for channel in range(channels):
        truth, mean = (
            values[number, first:, channel].detach().cpu().numpy()
            for values in (forecast.truth, forecast.mean)
        )
        axes.plot(time, truth, color=TRUTH, linewidth=1.1, alpha=0.75)
        axes.plot(time, mean, color=f"C{channel}", linewidth=1.5)
        if forecast.std is not None:
            wide = 2 * forecast.std[number, first:, channel].detach().cpu().numpy()
            axes.fill_between(
                time, mean - wide, mean + wide, color=f"C{channel}", alpha=0.16, linewidth=0
            )
    # The band may dwarf the data; the data decide what is shown.
    values = torch.cat([forecast.truth[number, first:], forecast.mean[number, first:]])
    low, high = float(values[:, :channels].min()), float(values[:, :channels].max())
    margin = 0.12 * (high - low) + 1e-6
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(first, max(steps - 1, first + 1))


def _legend(figure: Figure, forecast: Forecast, channels: int) -> None:
    from matplotlib.lines import Line2D

    names = ["prediction"] if channels == 1 else [f"channel {c}" for c in range(channels)]
    lines = [Line2D([], [], color=TRUTH, linewidth=1.1)]
    lines += [Line2D([], [], color=f"C{c}", linewidth=1.5) for c in range(channels)]
    figure.legend(lines, ["truth", *names], loc="outside upper left", ncols=len(lines))


def error_by_step(errors: Tensor, context: int, other: Tensor | None = None) -> Named:
    """Root mean squared error of each step over many sequences.

    Args:
        errors: root mean squared errors, (T,).
        context: steps that were given; their errors are drawn pale and count nowhere.
        other: the same for repeating the last given value, (T,), or None.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    values, steps = errors.cpu().numpy(), range(len(errors))
    if context:
        axes.axvspan(0, context - 0.5, color=_GIVEN, zorder=0, linewidth=0)
        axes.plot(steps[: context + 1], values[: context + 1], color="C0", alpha=0.35)
    axes.plot(steps[context:], values[context:], color="C0", label="model")
    if other is not None:
        axes.plot(
            steps[context:],
            other.cpu().numpy()[context:],
            color="0.55",
            linestyle=DOTTED,
            label="last given value, repeated",
        )
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, len(errors) - 1)
    label_axes(axes, "How the error grows", "step", "RMSE")
    axes.set_ylim(top=1.25 * axes.get_ylim()[1])
    axes.legend(loc="upper left", ncols=2)
    caption = (
        "Root mean squared error of each step over held-out sequences, all channels together"
        + (f"; the first {context} steps are given (shaded) and count in no metric." if context
           else ".")
    )  # fmt: skip
    return "error_by_step", caption, figure


def classes_over_time(probability: Tensor, label: Tensor, accuracy: Tensor) -> Named:
    """What class the weights stand for as a sequence is read.

    Args:
        probability: of each class after each step, (N, T, K), a few sequences.
        label: (N,).
        accuracy: share of many sequences that the weights after each step classify rightly, (T,).
    """
    from matplotlib.figure import Figure

    count = min(4, len(probability))
    classes = probability.shape[-1]
    figure = Figure(figsize=(7.4, 0.62 * count + 2.3), layout="constrained")
    panels = figure.subplots(count + 1, 1, sharex=True, height_ratios=[*[0.62] * count, 1.5])
    for number, axes in enumerate(panels[:-1]):
        shown = probability[number].detach().cpu().mT.numpy()
        axes.imshow(
            shown, aspect="auto", cmap="cividis", vmin=0, vmax=1, interpolation="nearest",
            extent=(-0.5, shown.shape[1] - 0.5, classes - 0.5, -0.5),
        )  # fmt: skip
        right = int(label[number])
        axes.plot([-0.5], [right], marker=">", color="C1", markersize=6, clip_on=False)
        axes.set_yticks([0, classes - 1])
        axes.grid(visible=False)
        axes.set_ylabel("class", fontsize=8)
    below = panels[-1]
    below.plot(range(len(accuracy)), accuracy.cpu().numpy(), color="C0")
    below.set_ylim(0, 1.02)
    below.set_xlim(-0.5, len(accuracy) - 0.5)
    label_axes(below, "", "step", "accuracy")
    panels[0].set_title("Class that the weights stand for, step by step")
    caption = (
        "Above: probability of each class (dark 0, bright 1) were reading to stop at that step; "
        "the mark on the left is the true class. Below: accuracy over held-out sequences."
    )
    return "classes", caption, figure


def by_context(lengths: Sequence[int], rows: Sequence[Mapping[str, float]], count: int) -> Named:
    """Errors on what was not given, against how much was given.

    Args:
        lengths: steps given.
        rows: metrics at each of `lengths`: `mse`, and `bpd` if there are deviations.
        count: sequences scored.
    """
    from matplotlib.figure import Figure

    names = {"mse": "MSE", "bpd": "bits per dimension"}
    shown = [name for name in names if name in rows[0]]
    figure = Figure(figsize=(3.7 * len(shown), 2.9), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for number, (axes, name) in enumerate(zip(panels, shown, strict=True)):
        values = [row[name] for row in rows]
        axes.plot(lengths, values, "o-", color=f"C{number}", markersize=4)
        label_axes(axes, "" if number else "Errors by context", "steps given", names[name])
    numbers = "; ".join(
        f"L = {length}: " + ", ".join(f"{names[name]} {row[name]:.4g}" for name in shown)
        for length, row in zip(lengths, rows, strict=True)
    )
    caption = f"Errors on the steps not given, over {count} held-out sequences. {numbers}."
    return "contexts", caption, figure


def between_steps(truth: Tensor, held: Tensor, parts: int) -> Named:
    """Sequences beside what the weights after their last step say, between the steps too.

    Args:
        truth: (N, T, d).
        held: means at places 0, 1 / parts, 2 / parts, ... T - 1, (N, parts (T - 1) + 1, d).
        parts: places a step.
    """
    from matplotlib.figure import Figure

    count = min(3, len(truth))
    figure = Figure(figsize=(2.75 * count, 2.5), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    for axes, steps, curve in zip(panels, truth, held, strict=False):
        for channel in range(min(CHANNELS, truth.shape[-1])):
            axes.plot(steps[:, channel].cpu().numpy(), "o", color="0.45", markersize=2.4)
            place = torch.arange(curve.shape[0]) / parts
            axes.plot(place.numpy(), curve[:, channel].cpu().numpy(), color=f"C{channel}")
        axes.set_xlabel("step")
    panels[0].set_title("What the last weights hold")
    caption = (
        "Dots: the sequence. Lines: the weights after its last step, frozen and read at "
        f"{parts} places a step."
    )
    return "held", caption, figure
