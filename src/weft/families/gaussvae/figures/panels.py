"""Rows of pictures, with ellipses of splats over them, and histograms of scores."""

# B pictures, N splats, H x W pixels

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from weft.families.gaussvae.splats.quality import psnr
from weft.plots.axes import bare
from weft.plots.style import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGEST = 0.5
"""Largest deviation of an ellipse that is drawn, in sides of a picture; larger ones hide others."""


def panels(
    rows: Mapping[str, Tensor],
    wanted: Tensor | None = None,
    outlines: Mapping[str, Tensor] | None = None,
) -> Figure:
    """A row of pictures (B, 3, H, W) for each name, with their PSNR if the truth is given.

    Args:
        rows: name -> pictures.
        wanted: the true pictures; they may also be the row `picture`.
        outlines: name of a row -> `logcov` splats (B, N, 8) whose ellipses are drawn over it, in
            pixels of the pictures.
    """
    from matplotlib.figure import Figure

    count = max(map(len, rows.values()))
    figure = Figure(figsize=(1.1 * count + 0.6, 1.25 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), count, squeeze=False)
    for axes, (name, shown) in zip(grid, rows.items(), strict=True):
        axes[0].set_ylabel(name)
        for one in axes:
            bare(one)
        for number, (one, picture) in enumerate(zip(axes, shown, strict=False)):
            one.imshow(picture.clamp(0, 1).permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
            if outlines is not None and name in outlines:
                _outline(one, outlines[name][number], picture.shape[-1], picture.shape[-2])
        if wanted is not None and name not in ("picture", *(outlines or ())):
            for one, score in zip(axes, psnr(shown.clamp(0, 1), wanted).tolist(), strict=False):
                one.set_xlabel(f"{score:.1f} dB", labelpad=1)
    return figure


def histogram(scores: Mapping[str, Tensor]) -> Figure:
    """A histogram over pictures of the PSNR of each form, with a line at its mean.

    Args:
        scores: name of a form -> PSNR in decibels, (B,).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axes = figure.subplots()
    for number, (name, values) in enumerate(scores.items()):
        axes.hist(values.cpu().numpy(), bins=30, histtype="step", color=colour(number), label=name)
        axes.axvline(float(values.mean()), color=colour(number), linewidth=0.8, linestyle="--")
    axes.set(xlabel="PSNR (dB)", ylabel="pictures")
    axes.legend()
    return figure


def _outline(axes: Axes, splats: Tensor, width: int, height: int) -> None:
    """Ellipses at one deviation: axes e^((m + r) / 2) and e^((m - r) / 2), rotated by half the
    phase of (a, b)."""
    from matplotlib.collections import EllipseCollection

    x, y, m, a, b = splats[:, :5].detach().cpu().double().unbind(-1)
    r = (a.square() + b.square()).sqrt()
    long, short = ((m + r) / 2).exp(), ((m - r) / 2).exp()
    turned = 0.5 * b.atan2(a) * 180 / math.pi
    kept = long < LARGEST * max(width, height)
    shapes = EllipseCollection(
        2 * long[kept].numpy(),
        2 * short[kept].numpy(),
        turned[kept].numpy(),
        units="xy",
        offsets=list(
            zip((x * width - 0.5)[kept].tolist(), (y * height - 0.5)[kept].tolist(), strict=True)
        ),
        offset_transform=axes.transData,
        facecolors="none",
        edgecolors="#ffffff",
        linewidths=0.35,
    )
    axes.add_collection(shapes)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
