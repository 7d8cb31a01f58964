"""Figures of one run: pictures and their splats, reconstructions, errors over training."""

# B pictures, N splats, L latents, H x W pixels

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from weft.data.source import Batch
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.figures.panels import histogram, panels
from weft.families.gaussvae.model import SplatVAE
from weft.families.gaussvae.sets.packed_source import Meaning, SplatSource
from weft.families.gaussvae.splats.geometry import to_logcov
from weft.families.gaussvae.splats.quality import psnr
from weft.families.gaussvae.terms.groups import GROUPS
from weft.plots.axes import key_beside, label_axes, marks
from weft.plots.history import curve_of
from weft.plots.images import Named
from weft.plots.style import DOTTED, colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN, COUNTED = 8, 256
"""Number of pictures in a row, and in the histogram."""


class Drawing(Protocol):
    """The part of a task that figures need."""

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
    """Pictures, their fits and reconstructions; interpolations; samples of the prior.

    Args:
        task: gives the config, and renders splats.
        model: trained.
        source: of held-out items.
        draws: for the samples.
    """
    batch = next(iter(source.batches(COUNTED)))
    splats, wanted = batch["splats"], task.pictures(batch)
    means, _ = model.encode(model.standardised(splats))
    latents = task.config.latent_dim

    def shown(z: Tensor) -> Tensor:
        return task.drawn(model.raw(model.decode(z)))

    few = slice(SHOWN)
    fitted, decoded = task.drawn(splats), shown(means)
    rows = {"picture": wanted[few], "fit": fitted[few], "ellipses": fitted[few]}
    yield (
        "reconstructions",
        f"Held-out pictures; {splats.shape[1]} splats fitted to each, and their ellipses at one "
        f"deviation; what is left of the splats behind {latents} latents.",
        panels(
            {**rows, "decoded": decoded[few]},
            wanted[few],
            {"ellipses": _outlined(splats[few], task)},
        ),
    )
    scores = {"fit": psnr(fitted.clamp(0, 1), wanted), "decoded": psnr(decoded.clamp(0, 1), wanted)}
    yield "psnr", f"PSNR of {len(wanted)} held-out pictures.", histogram(scores)
    share = torch.linspace(0, 1, SHOWN, device=means.device)[:, None]
    pairs = range(0, min(6, len(means) - 1), 2)
    ways = {f"pair {i // 2 + 1}": (1 - share) * means[i] + share * means[i + 1] for i in pairs}
    if ways:
        yield (
            "interpolations",
            "From one picture to another along a straight line between their latents.",
            panels({name: shown(way) for name, way in ways.items()}),
        )
    noise = torch.randn(3 * SHOWN, latents, generator=draws).to(means.device).split(SHOWN)
    yield (
        "samples",
        "Decoded draws from the prior. The smaller beta, the less the prior is where latents lie.",
        panels({f"draw {i + 1}": shown(z) for i, z in enumerate(noise)}),
    )


def curves(history: Sequence[dict[str, Any]]) -> Iterator[Named]:
    """The unexplained variance of each group at each evaluation, and of a fixed prediction."""
    split = next((s for s in ("val", "test") if curve_of(history, f"{s}/fvu_xy")), None)
    if split is None:
        return
    from matplotlib.figure import Figure

    figure: Figure = Figure(figsize=(6.8, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, group in enumerate(GROUPS["rs"]):
        points = curve_of(history, f"{split}/fvu_{group}")
        x, y = zip(*points, strict=True)
        axes.plot(x, y, color=colour(number), label=group, marker=marks(len(x)), markersize=3)
        floor = curve_of(history, f"{split}/floor_{group}")[-1][1]
        axes.axhline(floor, color=colour(number), linestyle=DOTTED, linewidth=1.2)
    axes.axhline(1, color="0.5", linewidth=0.8)
    axes.set_ylim(0, None)
    label_axes(axes, "Variance left unexplained", "step", "share of the variance")
    key_beside(axes)
    yield (
        "unexplained",
        "Share of the variance of centres (xy), sizes (scale), orientations (rot) and colours "
        "(feat) that decoded splats leave unexplained. At 1 a group's mean does as well; dotted: "
        "the mean of each place in the order, which knows nothing of a picture.",
        figure,
    )


def _outlined(splats: Tensor, task: Drawing) -> Tensor:
    """Raw splats in layout `logcov`, with centres for sampling at pixel centres."""
    as_logcov = splats if task.config.data.layout == "logcov" else to_logcov(splats)
    if task.meaning.sampling == "corner":
        height, width = task.meaning.size
        as_logcov = as_logcov.clone()
        as_logcov[..., 0] += 0.5 / width
        as_logcov[..., 1] += 0.5 / height
    return as_logcov
