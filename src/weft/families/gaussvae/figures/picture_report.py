"""Figures of arch=image: reconstructions, interpolations, prior samples, PSNR over training."""

# B pictures, S splats, L latents, H x W pixels

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weft.data.source import TensorSource
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.nets.picture_model import PictureModel
from weft.families.gaussvae.score.refine import refine
from weft.families.gaussvae.splats.quality import psnr
from weft.plots.images import Named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN, COUNTED = 8, 512


def pictures(
    config: Config, model: PictureModel, source: TensorSource, draws: torch.Generator
) -> Iterator[Named]:
    """Reconstructions, a histogram of their PSNR, interpolations of pictures, prior samples.

    Args:
        config: of the run.
        model: trained.
        source: of held-out pictures.
        draws: for the samples.
    """
    wanted = model.brightness(next(iter(source.batches(COUNTED)))["image"])
    count, options = config.latent_dim, config.picture
    z = model.encode(wanted).mean
    forms = {
        f"{count} components": model.principal.back(model.principal(wanted)[:, :count]),
        "encoder": model.decode(z),
    }
    if options.refine:
        better = refine(model.decode, wanted, z, steps=options.refine, lr=options.refine_lr)
        forms[f"{options.refine} steps of search"] = model.decode(better)
    rows = {"picture": wanted, **forms}
    yield (
        "reconstructions",
        f"Held-out pictures, {count} numbers each: principal components, and ours.",
        _grid({name: shown[:SHOWN] for name, shown in rows.items()}, wanted[:SHOWN]),
    )
    scores = {name: psnr(shown.clamp(0, 1), wanted) for name, shown in forms.items()}
    yield "psnr", f"PSNR of {len(wanted)} held-out pictures.", _histogram(scores)
    share = torch.linspace(0, 1, SHOWN, device=z.device)[:, None]
    ways = [
        model.decode((1 - share) * z[i] + share * z[i + 1]) for i in range(0, min(6, len(z) - 1), 2)
    ]
    if ways:
        yield (
            "interpolations",
            "From one picture to another along a straight line between their latents.",
            _grid({f"pair {i + 1}": way for i, way in enumerate(ways)}),
        )
    noise = torch.randn(3 * SHOWN, count, generator=draws).to(z.device)
    samples = model.decode(z.mean(0) + noise * z.std(0, correction=0)).split(SHOWN)
    yield (
        "samples",
        "Latents drawn at random with the mean and deviation of those of pictures.",
        _grid({f"draw {i + 1}": row for i, row in enumerate(samples)}),
    )


def over_training(history: list[dict[str, Any]]) -> Iterator[Named]:
    """PSNR at each evaluation, with and without refinement, and that of principal components."""
    from matplotlib.figure import Figure

    names = ("psnr_pca", "psnr", "psnr_refined")
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    drawn = False
    for name in names:
        for split in ("val", "test"):
            key = f"{split}/{name}"
            points = [(row["step"], row[key]) for row in history if row.get(key) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", ms=3, label=f"{split} {name}")
                drawn = True
    if drawn:
        axes.set(xlabel="step", ylabel="PSNR (dB)")
        axes.legend()
        yield "psnr_over_training", "PSNR of held-out pictures over training.", figure


def _histogram(scores: dict[str, Tensor]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    for name, values in scores.items():
        axes.hist(values.cpu().numpy(), bins=40, histtype="step", label=name)
    axes.set(xlabel="PSNR (dB)", ylabel="pictures")
    axes.legend()
    return figure


def _grid(rows: dict[str, Tensor], wanted: Tensor | None = None) -> Figure:
    """A row of pictures (B, 3, H, W) for each name, with their PSNR if the truth is given."""
    from matplotlib.figure import Figure

    count = max(map(len, rows.values()))
    figure = Figure(figsize=(1.1 * count + 0.6, 1.25 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), count, squeeze=False)
    for axes, (name, shown) in zip(grid, rows.items(), strict=True):
        axes[0].set_ylabel(name)
        for one in axes:
            one.set(xticks=[], yticks=[])
        for one, picture in zip(axes, shown, strict=False):
            one.imshow(picture.clamp(0, 1).permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
        if wanted is not None and name != "picture":
            for one, score in zip(axes, psnr(shown.clamp(0, 1), wanted).tolist(), strict=False):
                one.set_xlabel(f"{score:.1f} dB")
    return figure
