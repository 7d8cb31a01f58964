"""Figures of sequences whose steps are pixels: completions, and what weights hold of a picture."""

# N pictures, T pixels

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weft.families.warp.figures.report import Forecast
from weft.plots.axes import bare
from weft.plots.images import Named

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURES = 8


def pictures(forecast: Forecast, canvas: tuple[int, int], low: float) -> Named:
    """Images beside their completions: truth, what was given, mean, and deviation.

    Args:
        forecast: of pixels in rows.
        canvas: height and width.
        low: the value that is drawn black; 1 is white.
    """
    from matplotlib.figure import Figure

    count = min(PICTURES, len(forecast.truth))
    given = forecast.truth.clone()
    given[:, forecast.context :] = math.nan
    later = torch.arange(forecast.truth.shape[1], device=given.device) >= forecast.context
    completed = torch.where(later[:, None], forecast.mean, forecast.truth)
    rows = {"truth": forecast.truth, "given": given, "completed": completed}
    if forecast.std is not None:
        rows["deviation"] = torch.where(later[:, None], forecast.std, math.nan)
    figure = Figure(figsize=(0.95 * count + 0.7, 0.98 * len(rows) + 0.1), layout="constrained")
    grid = figure.subplots(len(rows), count, squeeze=False)
    for line, (name, values) in zip(grid, rows.items(), strict=True):
        for axes, image in zip(line, values[:count], strict=True):
            if name == "deviation":
                bounds = 0.0, float(values.nan_to_num(0).max())
                image = image.mean(-1, keepdim=True)
            else:
                bounds = low, 1.0
            show_image(axes, image, canvas, bounds, "magma" if name == "deviation" else "gray")
        line[0].set_ylabel(name)
    caption = (
        f"The first {forecast.context} of {forecast.truth.shape[1]} pixels are given, row by row; "
        "the model fills in the rest, each pixel from those before it. Errors are taken over the "
        "pixels that were not given."
    )
    if forecast.std is not None:
        top = float(forecast.std[:, forecast.context :].max())
        caption += f" Deviation: black 0, bright {top:.2g}, on the scale of the data."
    return "completions", caption, figure


def held_pictures(
    truth: Tensor,
    recalled: Tensor,
    canvas: tuple[int, int],
    low: float,
    finer: tuple[Tensor, tuple[int, int]] | None,
) -> Named:
    """Images beside what the weights after their last pixel hold of them.

    Args:
        truth, recalled: pixels, (N, T, 1 or 3).
        canvas: height and width.
        low: the value drawn black; 1 is white.
        finer: the same weights read on a finer grid, (N, M, 1 or 3), with its height and width.
    """
    from matplotlib.figure import Figure

    rows = [("truth", truth, canvas), ("held", recalled, canvas)]
    if finer is not None:
        rows.append(("held, finer", *finer))
    count = min(PICTURES, len(truth))
    figure = Figure(figsize=(0.95 * count + 0.7, 0.98 * len(rows) + 0.1), layout="constrained")
    grid = figure.subplots(len(rows), count, squeeze=False)
    for line, (name, values, size) in zip(grid, rows, strict=True):
        for axes, image in zip(line, values[:count], strict=True):
            show_image(axes, image, size, (low, 1.0), "gray")
        line[0].set_ylabel(name)
    caption = (
        "The weights after the last pixel, frozen and read at every pixel: what is left of the "
        "picture in them."
    )
    if finer is not None:
        caption += f" Below: the same weights on a grid of {finer[1][0]} x {finer[1][1]}."
    return "held", caption, figure


def show_image(
    axes: Axes, pixels: Tensor, canvas: tuple[int, int], bounds: tuple[float, float], colours: str
) -> None:
    """Pixels (T, 1 or 3) as an image without axes; those that are no numbers are tinted."""
    low, high = bounds
    image = pixels.detach().float().cpu().reshape(*canvas, -1)
    if image.shape[-1] == 3:
        scaled = ((image - low) / (high - low)).clamp(0, 1)
        scaled = torch.where(image.isnan(), torch.tensor([0.80, 0.86, 0.93]), scaled)
        axes.imshow(scaled.numpy(), interpolation="nearest")
    else:
        from matplotlib import colormaps

        tinted = colormaps[colours].with_extremes(bad="#ccdbed")
        axes.imshow(
            image[..., 0].numpy(), cmap=tinted, vmin=low, vmax=high, interpolation="nearest"
        )
    bare(axes)
