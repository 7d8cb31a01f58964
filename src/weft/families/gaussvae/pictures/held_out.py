"""Metrics of held-out pictures: PSNR, also of a linear code of equal length, and latents."""

# M pictures, B batch, L latents

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from weft.data.source import TensorSource
from weft.families.gaussvae.codec.tiles import Bytes
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.nets.picture_model import PictureModel
from weft.families.gaussvae.score.rate import Floats, as_bytes, channels_last, coded
from weft.families.gaussvae.score.refine import refine
from weft.families.gaussvae.splats.quality import psnr
from weft.families.gaussvae.terms.log_mse import log_mse
from weft.families.gaussvae.terms.posterior import active, divergence
from weft.task.metric import Metric

METRICS = (
    Metric("psnr", "higher", "dB", "PSNR of the decoded picture, mean over pictures."),
    Metric("psnr_refined", "higher", "dB", "PSNR after a search for the picture's latent."),
    Metric("psnr_pca", "higher", "dB", "PSNR of as many principal components as latents."),
    Metric("gain", "higher", "dB", "PSNR beyond that of as many principal components."),
    Metric(
        "gain_refined", "higher", "dB", "PSNR after a search, beyond that of principal components."
    ),
    Metric("recon_loss", "lower", about="Mean over pictures of log(mse + 1e-4), whatever trains."),
    Metric("kl_nats", "lower", "nats", "KL of a picture's posterior from the prior."),
    Metric("bits", "lower", about="Bits of a picture's latent, quantised and coded; no header."),
    Metric("psnr_coded", "higher", "dB", "PSNR of what the coded latent decodes to."),
    Metric("active_units", "higher", about="Latents whose mean varies over pictures."),
)


def measured(config: Config, model: PictureModel, source: TensorSource) -> dict[str, float]:
    """The metrics of `METRICS` that apply to this config.

    Without `picture.refine` nothing is refined. Without sampled latents there is no KL, and no unit
    for quantisation. With refinement the coded latents are refined too, see `score.rate.coded`.
    Pictures are clamped to [0, 1] before they are compared.
    """
    options, count = config.picture, config.latent_dim
    columns: dict[str, list[Tensor]] = {}
    means, latents, deviations, pictures = [], [], [], []
    for batch in source.batches(config.eval.batch_size):
        wanted = model.brightness(batch["image"])
        posterior = model.encode(wanted)
        found = model.decode(posterior.mean)
        linear = model.principal.back(model.principal(wanted)[:, :count])
        row = {
            "psnr": psnr(found.clamp(0, 1), wanted),
            "psnr_pca": psnr(linear.clamp(0, 1), wanted),
            "recon_loss": log_mse(found, wanted),
        }
        z = posterior.mean
        if options.refine:
            z = refine(
                model.decode, wanted, posterior.mean, steps=options.refine, lr=options.refine_lr
            )
            row["psnr_refined"] = psnr(model.decode(z).clamp(0, 1), wanted)
        if posterior.log_variance is not None:
            latents.append(z)
            deviations.append((posterior.log_variance / 2).exp())
            pictures.append(channels_last(batch["image"]))
            row["kl_nats"] = divergence(posterior.mean, posterior.log_variance).sum(1)
        for name, values in row.items():
            columns.setdefault(name, []).append(values)
        means.append(posterior.mean)
    found_means = {name: float(torch.cat(values).mean()) for name, values in columns.items()}
    linear_psnr = found_means["psnr_pca"]
    found_means["gain"] = found_means["psnr"] - linear_psnr
    if options.refine:
        found_means["gain_refined"] = found_means["psnr_refined"] - linear_psnr
    found_means["active_units"] = active(torch.cat(means))
    if sum(map(len, latents)) > 1:
        unit = torch.cat(deviations).mean(0)

        def decode(units: Floats) -> Bytes:
            chunks = torch.from_numpy(units).to(unit).split(config.eval.batch_size)
            return np.concatenate([as_bytes(model.decode(chunk * unit)) for chunk in chunks])

        units = (torch.cat(latents) / unit).double().cpu().numpy()
        found_means |= coded(units, decode, np.concatenate(pictures))
    return found_means
