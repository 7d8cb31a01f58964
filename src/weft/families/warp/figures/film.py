"""An animation of a model at work: what it makes of the rest while more and more is given."""

# F frames, N sequences, T steps, d channels

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weft.plots.images import enlarged, letters

if TYPE_CHECKING:
    from PIL.Image import Image

FRAMES = 40
_PIXELS = 72
_GAP = 6
_PAPER, _INK, _EMPTY = (255, 255, 255), (60, 70, 80), (0.80, 0.86, 0.93)


def pixel_frames(
    truth: Tensor,
    rows: dict[str, Tensor],
    given: Sequence[int],
    canvas: tuple[int, int],
    low: float,
) -> list[Image]:
    """Pictures as far as they are given, above what is made of them.

    Args:
        truth: pixels, (N, T, 1 or 3).
        rows: name -> pixels at each moment, (F, N, T, 1 or 3).
        given: how many pixels are given at each of the F moments.
        canvas: height and width.
        low: the value drawn black; 1 is white.
    """
    frames, title = [], f"{{}} of {truth.shape[1]} pixels given"
    for moment, count in enumerate(given):
        known = truth.clone()
        known[:, count:] = float("nan")
        lines = {"given": known} | {name: values[moment] for name, values in rows.items()}
        tiles = {name: _tiles(values, canvas, low) for name, values in lines.items()}
        frames.append(_page(tiles, title.format(count), title.format(truth.shape[1])))
    return frames


def _tiles(pixels: Tensor, canvas: tuple[int, int], low: float) -> list[Image]:
    height, width = canvas
    scale = max(1, round(_PIXELS / max(height, width)))
    shown = ((pixels.detach().float().cpu() - low) / (1 - low)).clamp(0, 1).expand(-1, -1, 3)
    shown = torch.where(shown.isnan(), torch.tensor(_EMPTY), shown)
    return [enlarged(picture, scale) for picture in shown.view(-1, height, width, 3)]


def _page(rows: dict[str, list[Image]], title: str, longest: str) -> Image:
    """Rows of pictures, each behind its name, below a title; wide enough for the longest one."""
    from PIL import Image, ImageDraw

    count = len(next(iter(rows.values())))
    width, height = next(iter(rows.values()))[0].size
    font = letters()
    margin = 2 * _GAP + math.ceil(max(map(font.getlength, rows)))
    line = round(1.5 * font.size)
    wide = max(count * (width + _GAP), math.ceil(font.getlength(longest)) + _GAP)
    page = Image.new("RGB", (margin + wide, line + len(rows) * (height + _GAP)), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((margin, 2), title, _INK, font)
    for row, (name, tiles) in enumerate(rows.items()):
        top = line + row * (height + _GAP)
        draw.text((_GAP, top + height // 2), name, _INK, font, anchor="lm")
        for column, tile in enumerate(tiles):
            page.paste(tile, (margin + column * (width + _GAP), top))
    return page


def curve_frames(
    truth: Tensor, mean: Tensor, std: Tensor | None, given: Sequence[int]
) -> list[Image]:
    """One sequence as far as it is given, and the forecast from there.

    Args:
        truth: (T, d).
        mean: of every step at each moment, (F, T, d).
        std: of the same, two of which are shaded; None without.
        given: how many steps are given at each of the F moments.
    """
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(5.6, 2.9), layout="constrained")
    axes = figure.add_subplot()
    truth, mean = truth.detach().cpu(), mean.detach().cpu()
    channels = min(3, truth.shape[-1])
    low, high = float(truth[:, :channels].min()), float(truth[:, :channels].max())
    margin = 0.25 * (high - low) + 1e-6
    frames = []
    for moment, count in enumerate(given):
        axes.clear()
        for channel in range(channels):
            colour, rest = f"C{channel}", range(count, len(truth))
            forecast = mean[moment, count:, channel]
            axes.plot(truth[:, channel].numpy(), color="0.82", linewidth=1.0)
            axes.plot(truth[:count, channel].numpy(), color="0.25", linewidth=1.6)
            axes.plot(rest, forecast.numpy(), color=colour, linewidth=1.5)
            if std is not None:
                wide = 2 * std[moment, count:, channel].detach().cpu()
                below, above = (forecast - wide).numpy(), (forecast + wide).numpy()
                axes.fill_between(rest, below, above, color=colour, alpha=0.16, linewidth=0)
        axes.set_ylim(low - margin, high + margin)
        axes.set_xlim(0, len(truth) - 1)
        axes.set_xlabel("step")
        axes.set_title(f"{count} of {len(truth)} steps given")
        page = io.BytesIO()
        figure.savefig(page, format="png", dpi=90)
        page.seek(0)
        frames.append(Image.open(page).convert("RGB"))
    return frames
