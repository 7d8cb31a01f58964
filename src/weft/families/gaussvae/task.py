"""Trains an autoencoder of splat sets."""

# B batch, N splats, L latents, H x W pixels

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weft.data.random import stream
from weft.data.source import Batch, DataSpec, Splits
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.data import (
    data_meaning,
    data_spec,
    load_splits,
    load_statistics,
    rendered,
)
from weft.families.gaussvae.model import SplatVAE, build_model
from weft.families.gaussvae.objective import picture_error, reconstruction, weighted
from weft.families.gaussvae.pictures.task import PictureTask
from weft.families.gaussvae.score.held_out import METRICS, Latents, held_out
from weft.families.gaussvae.sets.packed_source import Meaning, SplatSource
from weft.families.gaussvae.terms.groups import GROUPS
from weft.families.gaussvae.terms.posterior import beta_at, bounded, divergence, kl_term, sampled
from weft.nn.precision import widened
from weft.task.context import Context
from weft.task.inference import Inference
from weft.task.metric import Metric, led_by
from weft.task.task import Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class GaussTask(Task[Config, SplatVAE, SplatSource]):
    """Compression of splat sets into latents, and reconstruction."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The monitored metric, which selects; then losses, variances, latents, pictures."""
        return led_by(self.config.monitor, METRICS)

    @cached_property
    def meaning(self) -> Meaning:
        """The meaning of the numbers of the run's splats."""
        return data_meaning(self.config)

    @cached_property
    def epoch_steps(self) -> int:
        """Steps of an epoch; beta rises by epochs."""
        return self.spec().batches_per_epoch

    def spec(self) -> DataSpec:
        """Shapes and sizes of the data, read from file headers only."""
        return data_spec(self.config)

    def data(self) -> Splits[SplatSource]:
        """Splat sets, with their pictures if these are stored."""
        return load_splits(self.config)

    def model(self, spec: DataSpec) -> SplatVAE:
        """The configured nets; `prime` adds the statistics of the data.

        Raises:
            ConfigError: if sizes do not divide evenly.
        """
        return build_model(self.config, spec.fields["splats"].shape[0], self.meaning.cells)

    def prime(self, model: SplatVAE, data: Splits[SplatSource]) -> None:
        """Sets the model's mean and deviation to those of the training splats."""
        mean, std = load_statistics(self.config, data.train.fields["splats"])
        model.mean.copy_(mean)
        model.std.copy_(std)

    def draw(self, batch: Batch, ctx: Context) -> Batch:
        """Adds the noise of the latents, (B, L), and the step's beta, (B,)."""
        splats = batch["splats"]
        shape = (len(splats), self.config.latent_dim)
        noise = torch.randn(shape, generator=ctx.generator("epsilon"), device=splats.device)
        beta = beta_at(self.config.beta, ctx.step // self.epoch_steps)
        return {**batch, "epsilon": noise, "beta": noise.new_full(shape[:1], beta)}

    def loss(self, model: SplatVAE, batch: Batch, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction error plus beta KL; logged are both, the groups' errors, and beta.

        Args:
            model: made by `model`.
            batch: `splats` (B, N, 8), `epsilon` (B, L), `beta` (B,), equal entries, and possibly
                `image` (B, 3, H, W).
            ctx: the state of training.
        """
        config = self.config
        wanted = model.standardised(batch["splats"])
        mean, log_var = (widened(part) for part in model.encode(wanted))
        log_var = bounded(log_var, config.kl)
        found = widened(model.decode(sampled(mean, log_var, batch["epsilon"])))
        groups = GROUPS[config.data.layout]
        recon = reconstruction(
            found,
            wanted,
            groups,
            weighted(config.loss, config.weights, groups),
            self._share_of_pictures(ctx),
            lambda: self._picture_error(model, found, batch),
        )
        # A loss that reads the progress cannot be captured as a CUDA graph; so only if needed.
        progress = 0.0 if config.kl.capacity is None else ctx.progress
        kl, beta = kl_term(divergence(mean, log_var), config.kl, progress), batch["beta"][0]
        # If beta is 0, a KL that overflows must not make the loss 0 x inf.
        loss = recon.loss + beta * kl if config.beta.max else recon.loss
        if not ctx.log:
            return loss, {}
        terms = {"total_loss": loss, "recon_loss": recon.total, "kl_loss": kl}
        terms |= {f"loss_{name}": error for name, error in recon.groups.items()}
        return loss, {**terms, "beta": beta}

    def _share_of_pictures(self, ctx: Context) -> float:
        """The share of the picture's error in the loss."""
        if self.config.loss == "mixed":
            return min(1.0, ctx.progress / self.config.render.ramp)
        return float(self.config.loss == "render")

    def _picture_error(self, model: SplatVAE, found: Tensor, batch: Batch) -> Tensor:
        config = self.config.render
        wanted = self.pictures(batch)
        return picture_error(self.drawn(model.raw(found)), wanted, config.gain, config.ssim)

    def drawn(self, splats: Tensor) -> Tensor:
        """Raw splats (B, N, 8) of the run's layout as pictures (B, 3, H, W)."""
        return rendered(splats, self.meaning, self.config)

    def pictures(self, batch: Batch) -> Tensor:
        """The pictures of a batch (B, 3, H, W) in [0, 1]; if none are stored, rendered splats."""
        if "image" in batch:
            return batch["image"].float() / 255
        return self.drawn(batch["splats"])

    def inference(self, model: SplatVAE, spec: DataSpec) -> Inference:
        """Latents (N, L), posterior means, of splats (N, S, 8), and splats decoded from them."""

        def coded(net: SplatVAE, splats: Tensor) -> tuple[Tensor, Tensor]:
            latent, _ = net.encode(net.standardised(splats))
            return latent, net.raw(net.decode(latent))

        splats = torch.zeros(2, *spec.fields["splats"].shape)
        return Inference(coded, {"splats": splats}, ("latent", "decoded"))

    def evaluate(self, model: SplatVAE, source: SplatSource, ctx: Context) -> dict[str, float]:
        """Losses, explained variance, latents and pictures over all of `source`."""
        config = self.config
        beta = beta_at(config.beta, max(0, ctx.step - 1) // self.epoch_steps)
        noise = ctx.generator("held-out") if config.eval.sampled else None

        def latents(splats: Tensor) -> Latents:
            mean, log_var = (widened(part) for part in model.encode(model.standardised(splats)))
            log_var = bounded(log_var, config.kl)
            z = mean
            if noise is not None:
                draws = torch.randn(mean.shape, generator=noise, device=mean.device)
                z = sampled(mean, log_var, draws)
            return Latents(mean, divergence(mean, log_var), widened(model.decode(z)))

        return held_out(self, model, source, latents, beta, ctx.progress)

    def sample(
        self, model: SplatVAE, data: Splits[SplatSource], ctx: Context
    ) -> Iterator[tuple[str, str, Figure]]:
        """Originals, fits with their ellipses, reconstructions, interpolations, prior samples."""
        from weft.families.gaussvae.figures import report

        draws = stream(ctx.seed, ctx.step, "sample")
        yield from report.pictures(self, model, data.shown, draws)

    def figures(self, history: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
        """The groups' errors over training, with those of a constant prediction."""
        from weft.families.gaussvae.figures import report

        yield from report.curves(history)


def task_of(config: Config) -> type[GaussTask | PictureTask]:
    """The task of a config: learning from splats, or from pixels."""
    return PictureTask if config.arch == "image" else GaussTask
