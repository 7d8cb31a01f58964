"""Figures of arch=image: reconstructions, interpolations, prior samples, PSNR over training."""

# B pictures, S splats, L latents, H x W pixels

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from weft.data.source import TensorSource
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.figures.panels import histogram, panels
from weft.families.gaussvae.nets.picture_model import PictureModel
from weft.families.gaussvae.score.refine import refine
from weft.families.gaussvae.splats.quality import psnr
from weft.plots.history import curve_of
from weft.plots.images import Named

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
        panels({name: shown[:SHOWN] for name, shown in rows.items()}, wanted[:SHOWN]),
    )
    scores = {name: psnr(shown.clamp(0, 1), wanted) for name, shown in forms.items()}
    yield "psnr", f"PSNR of {len(wanted)} held-out pictures.", histogram(scores)
    share = torch.linspace(0, 1, SHOWN, device=z.device)[:, None]
    ways = [
        model.decode((1 - share) * z[i] + share * z[i + 1]) for i in range(0, min(6, len(z) - 1), 2)
    ]
    if ways:
        yield (
            "interpolations",
            "From one picture to another along a straight line between their latents.",
            panels({f"pair {i + 1}": way for i, way in enumerate(ways)}),
        )
    noise = torch.randn(3 * SHOWN, count, generator=draws).to(z.device)
    samples = model.decode(z.mean(0) + noise * z.std(0, correction=0)).split(SHOWN)
    yield (
        "samples",
        "Latents drawn at random with the mean and deviation of those of pictures.",
        panels({f"draw {i + 1}": row for i, row in enumerate(samples)}),
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
            points = curve_of(history, key)
            if points:
                axes.plot(*zip(*points, strict=True), marker="o", ms=3, label=f"{split} {name}")
                drawn = True
    if drawn:
        axes.set(xlabel="step", ylabel="PSNR (dB)")
        axes.legend()
        yield "psnr_over_training", "PSNR of held-out pictures over training.", figure
