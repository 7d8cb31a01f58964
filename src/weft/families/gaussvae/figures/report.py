"""Figures of gaussvae: pictures and their splats, what latents hold, errors over time."""

# B pictures, N splats, L latents, H x W pixels

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from weft.data.source import Batch
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.model import SplatVAE
from weft.families.gaussvae.sets.packed_source import Meaning, SplatSource
from weft.families.gaussvae.splats.quality import psnr
from weft.plots.images import Named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN, STEPS = 8, 8


class Drawing(Protocol):
    """What a task gives to draw by."""

    @property
    def config(self) -> Config:
        """Of the run."""

    @property
    def meaning(self) -> Meaning:
        """Of the splats' numbers."""

    def drawn(self, splats: Tensor) -> Tensor:
        """Raw splats as pictures."""

    def pictures(self, batch: Batch) -> Tensor:
        """The pictures of a batch."""


def pictures(
    task: Drawing, model: SplatVAE, source: SplatSource, draws: torch.Generator
) -> Iterator[Named]:
    """Pictures, fits, reconstructions; a way between two; samples of the prior."""
    batch = next(iter(source.batches(SHOWN)))
    splats, wanted = batch["splats"], task.pictures(batch)
    mean, _ = model.encode(model.standardised(splats))
    rows = {
        "picture": wanted,
        "fitted splats": task.drawn(splats),
        "decoded": task.drawn(model.raw(model.decode(mean))),
    }
    yield "reconstructions", "x", _rows(rows, wanted)


def curves(history: list[dict[str, Any]]) -> Iterator[Named]:
    """Nothing yet."""
    return iter(())


def _rows(rows: dict[str, Tensor], wanted: Tensor) -> Figure:
    from matplotlib.figure import Figure

    count = len(wanted)
    figure = Figure(figsize=(1.1 * count + 0.6, 1.25 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), count, squeeze=False)
    for axes, (name, shown) in zip(grid, rows.items(), strict=True):
        scores = psnr(shown.clamp(0, 1), wanted).tolist()
        axes[0].set_ylabel(name)
        for one, picture, score in zip(axes, shown, scores, strict=True):
            one.imshow(picture.clamp(0, 1).permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
            one.set(xticks=[], yticks=[])
            if shown is not wanted:
                one.set_xlabel(f"{score:.1f} dB")
    return figure


_ = Sequence
