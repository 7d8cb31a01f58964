"""Trains arch=image: an autoencoder of pictures with splats as output, by the render loss only."""

# B batch, L latents, H x W pixels

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weft.data.random import stream
from weft.data.source import Batch, DataSpec, Splits, TensorSource
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.nets.picture_model import PictureModel, build_picture_model
from weft.families.gaussvae.objective import picture_error
from weft.families.gaussvae.pictures.data import load_pictures, picture_spec
from weft.families.gaussvae.pictures.held_out import METRICS, measured
from weft.families.gaussvae.score.refine import refine
from weft.families.gaussvae.sets.moves import moved
from weft.families.gaussvae.terms.log_mse import log_mse
from weft.families.gaussvae.terms.posterior import beta_at, divergence, kl_term, sampled
from weft.task.context import Context
from weft.task.inference import Inference
from weft.task.metric import Metric, led_by
from weft.task.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PictureTask(Task[Config, PictureModel, TensorSource]):
    """Compression of pictures into latents, from which splats are decoded."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The monitored metric, which selects; then PSNR with its baseline, losses, latents."""
        return led_by(self.config.monitor, METRICS)

    @cached_property
    def epoch_steps(self) -> int:
        """Steps of an epoch; beta rises by epochs."""
        return self.spec().batches_per_epoch

    def spec(self) -> DataSpec:
        """Shapes and sizes of the data, read from file headers only."""
        return picture_spec(self.config)

    def data(self) -> Splits[TensorSource]:
        """Pictures."""
        return load_pictures(self.config)

    def model(self, spec: DataSpec) -> PictureModel:
        """Encoder and decoder; `prime` initialises them from the training pictures.

        Raises:
            ConfigError: if there are fewer principal components than asked for.
        """
        return build_picture_model(self.config, spec.fields["image"].shape)

    def prime(self, model: PictureModel, data: Splits[TensorSource]) -> None:
        """Fits principal components to the training pictures, and initialises the nets.

        A model that already has components, from an earlier run, keeps them.
        """
        if not model.principal.fitted:
            linear = self.config.picture.start == "pca"
            model.start_from(data.train.fields["image"], linear=linear)

    def draw(self, batch: Batch, ctx: Context) -> Batch:
        """The augmented batch (mirrored and shifted), with the step's other random numbers.

        Args:
            batch: `image` (B, 3, H, W).
            ctx: the state of training.
        Returns: `image`; from `picture.search_from` on also `searched`, bool (B,): whether an
            item's latent is refined, true for every second item; with a KL term also `epsilon`
            (B, L), the noise of latents, and `beta` (B,), equal entries. The loss depends on the
            step only through these, so that it can be captured as a CUDA graph.
        """
        images, options = batch["image"], self.config.picture
        count, device = len(images), images.device
        draws = ctx.generator("augment", device="cpu")
        mirrored = torch.rand(count, generator=draws) < 0.5 * options.flip
        most = options.shift if float(torch.rand((), generator=draws)) < 0.5 else 0
        shift = torch.randint(-most, most + 1, (count, 2), generator=draws)
        drawn = {"image": moved(images, mirrored.to(device), shift.to(device))}
        if ctx.progress >= options.search_from:
            drawn["searched"] = torch.arange(count, device=device) % 2 == 1
        if self.config.samples:
            shape = (count, self.config.latent_dim)
            drawn["epsilon"] = torch.randn(shape, generator=ctx.generator("epsilon"), device=device)
            beta = beta_at(self.config.beta, ctx.step // self.epoch_steps)
            drawn["beta"] = torch.full((count,), beta, device=device)
        return drawn

    def loss(
        self, model: PictureModel, batch: Batch, ctx: Context
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over pictures of the render error plus beta KL; both are logged.

        From `picture.search_from` on, every second picture is decoded from a latent refined by a
        few steps, so that the decoder learns from such latents too.

        Args:
            model: made by `model`.
            batch: a result of `draw`, or a part of it.
            ctx: the state of training.
        """
        config = self.config
        wanted = model.brightness(batch["image"])
        z, log_variance = posterior = model.encode(wanted)
        if "searched" in batch:
            z = self._searched(model, wanted, z, batch["searched"])
        if log_variance is not None:
            z = sampled(z, log_variance, batch["epsilon"])
        error = self._error(model.decode(z), wanted)
        if log_variance is None:
            return error, {"recon_loss": error}
        progress = 0.0 if config.kl.capacity is None else ctx.progress
        kl = kl_term(divergence(posterior.mean, log_variance), config.kl, progress)
        beta = batch["beta"][0]
        return error + beta * kl, {"recon_loss": error, "kl_loss": kl, "beta": beta}

    def _searched(self, model: PictureModel, wanted: Tensor, z: Tensor, among: Tensor) -> Tensor:
        """Latents z (B, L), of which those of the items `among` (B,) are refined, as constants."""
        options = self.config.picture
        steps, lr = options.search_steps, options.search_lr
        # Always half of the items: to read their number from the device would wait for it.
        rows = among.int().argsort(descending=True, stable=True)[: (len(z) + 1) // 2]
        found = refine(model.decode, wanted[rows], z[rows], steps=steps, lr=lr)
        return torch.where(among[:, None], z.index_put((rows,), found), z)

    def _error(self, found: Tensor, wanted: Tensor) -> Tensor:
        if self.config.picture.error == "log":
            return log_mse(found, wanted).mean()
        return picture_error(found, wanted, self.config.render.gain, self.config.render.ssim)

    def inference(self, model: PictureModel, spec: DataSpec) -> Inference:
        """Latents (N, L), posterior means, of pictures (N, C, H, W) in [0, 1], and the pictures
        decoded from them, not clamped."""

        def coded(net: PictureModel, image: Tensor) -> tuple[Tensor, Tensor]:
            latent = net.encode(image).mean
            return latent, net.decode(latent)

        image = torch.zeros(2, *spec.fields["image"].shape)
        return Inference(coded, {"image": image}, ("latent", "decoded"))

    def evaluate(self, model: PictureModel, source: TensorSource, ctx: Context) -> dict[str, float]:
        """PSNR over all of `source`, that of principal components, and metrics of latents."""
        return measured(self.config, model, source)

    def sample(
        self, model: PictureModel, data: Splits[TensorSource], ctx: Context
    ) -> Iterator[tuple[str, str, Figure]]:
        """Originals and reconstructions, their splats, interpolations, prior samples."""
        from weft.families.gaussvae.figures import picture_report

        draws = stream(ctx.seed, ctx.step, "sample")
        yield from picture_report.pictures(self.config, model, data.shown, draws)

    def figures(self, history: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
        """PSNR over training, with that of principal components."""
        from weft.families.gaussvae.figures import picture_report

        yield from picture_report.over_training(history)
