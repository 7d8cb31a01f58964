"""Sections of a gaussvae run's options: splats, nets, loss, KL, rendering, evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from weft.config.cadence import Cadence
from weft.config.paths import MayBePath
from weft.config.section import KindConfig, Section
from weft.config.sections import DataConfig, EvalConfig
from weft.data.catalog.images import IMAGES

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
_NAMED = tuple(data_set.name for data_set in IMAGES)
DRAWN = "drawn"
"""Name of the pictures that weft draws itself."""


def _is_path(dataset: str) -> bool:
    return dataset != DRAWN and dataset not in _NAMED


class GaussData(DataConfig):
    """Which splat sets are learnt, and in which form."""

    dataset: Annotated[str, MayBePath(_is_path)] = Field(
        DRAWN,
        min_length=1,
        description="drawn (ships with weft), a folder that `weft data fit` wrote, or a folder of "
        ".npz or .pt files, one a picture; for arch=image also cifar10 or an .npz file of images.",
    )
    val: Annotated[str, MayBePath()] | None = Field(
        None, min_length=1, description="Folder of splats to validate on; a part held out if unset."
    )
    test: Annotated[str, MayBePath()] | None = Field(
        None, min_length=1, description="Folder of splats to test on; a part held out if unset."
    )
    size: tuple[Positive, Positive] | None = Field(
        None,
        description="Height and width of the pictures in pixels, for folders of .npz or .pt files.",
    )
    splats: int = Field(
        64,
        ge=4,
        description="Splats of each drawn picture; other numbers than 64 are fitted at first use.",
    )
    layout: Literal["logcov", "rs"] = Field(
        "logcov",
        description="Columns of a splat: log-covariance, or inverse deviations and an angle.",
    )
    order: Literal["kept", "morton", "hilbert"] = Field(
        "kept", description="Order of a picture's splats: as in the file, or along a curve."
    )
    statistics: Literal["column", "index"] = Field(
        "column",
        description="What z-scores are taken over: all splats, or those of one place in the order.",
    )
    stats: Annotated[str, MayBePath()] | None = Field(
        None,
        min_length=1,
        description="File normalization_stats.npz whose `mean` and `std` z-scores take; those of "
        "the training splats if unset.",
    )
    held_out: float = Field(
        0.1, gt=0, le=0.4, description="Share of the pictures to validate on, and again to test on."
    )
    items: int | None = Field(
        None, ge=1, description="Pictures used, the first ones of the set; all if unset."
    )


class NetConfig(Section):
    """The nets; what is unset is what the architecture has for the number of splats at hand."""

    encoder_filters: tuple[Positive, ...] | None = Field(
        None, min_length=1, description="Channels of each block of the encoder."
    )
    encoder_kernel_sizes: tuple[Positive, ...] | None = Field(
        None, description="Taps of each block of the encoder; 5 if unset."
    )
    encoder_pool_sizes: tuple[Positive | None, ...] | None = Field(
        None, description="Max-pool after each block; null for none. The last one is `pool`'s."
    )
    encoder_dropout_rates: tuple[Share, ...] | None = Field(
        None, description="Share dropped in each block of the encoder."
    )
    encoder_dense_units: int = Field(512, ge=1, description="Units before the two heads.")
    encoder_dense_dropout: float | None = Field(
        None, ge=0, lt=1, description="Share of these units that is dropped."
    )
    decoder_filters: tuple[Positive, ...] | None = Field(
        None, min_length=1, description="Channels of each block of the decoder."
    )
    decoder_kernel_sizes: tuple[Positive, ...] | None = Field(
        None, description="Taps of each block of the decoder; 5 if unset."
    )
    decoder_upsample_sizes: tuple[Positive | None, ...] | None = Field(
        None, description="Repeats of each position after each block; null for none."
    )
    decoder_dropout_rates: tuple[Share, ...] | None = Field(
        None, description="Share dropped in each block of the decoder; 0 if unset."
    )
    decoder_dense_units: tuple[Positive, ...] | None = Field(
        None, min_length=1, description="Units of the decoder's dense layers."
    )
    decoder_reshape_target: tuple[Positive, Positive] | None = Field(
        None, description="Positions and channels that the last dense layer becomes."
    )
    queries: int = Field(8, ge=1, description="Learned queries of pool=attn.")


class BetaConfig(Section):
    """Weight of the KL term over time: max min(1, (e+1) / warmup) in epoch e, counted from 0."""

    max: float = Field(1.0, ge=0, description="Weight of the KL term after the warm-up.")
    warmup: int = Field(50, ge=0, description="Epochs over which beta rises from 0; 0 for none.")
    cycle: int | None = Field(
        None, ge=1, description="Epochs after which the rise starts again; never if unset."
    )


class KlConfig(Section):
    """The KL term, and what keeps latents from being given up."""

    reduction: Literal["mean", "sum"] = Field(
        "mean",
        description="Mean over batch and latents (the original's), or nats: sum over latents.",
    )
    log_var_limit: float | None = Field(
        10.0, gt=0, description="Bound on the magnitude of log variances; none if unset."
    )
    free_bits: float = Field(
        0.0,
        ge=0,
        description="Nats of each latent, averaged over a batch, below which KL is not penalised.",
    )
    capacity: float | None = Field(
        None, ge=0, description="Capacity C in nats: |KL - C(t)| is penalised in place of KL."
    )
    capacity_share: float = Field(
        0.5, gt=0, le=1, description="Share of training over which C rises from 0 to `capacity`."
    )
    floor: float = Field(
        0.0, ge=0, description="Least nats of each latent, kept by a bound on its variance."
    )

    @property
    def is_joint(self) -> bool:
        """Whether the term is a function of a whole batch, and no mean over its items."""
        return self.free_bits > 0 or self.capacity is not None


class GroupWeights(Section):
    """What the loss of each group of columns is multiplied by, after what `loss` says."""

    xy: float = Field(1.0, ge=0, description="Weight of the centres' loss.")
    scale: float = Field(1.0, ge=0, description="Weight of the sizes' loss.")
    rot: float = Field(
        1.0, ge=0, description="Weight of the orientations' loss; in logcov also of elongation."
    )
    feat: float = Field(1.0, ge=0, description="Weight of the colours' loss.")


class RenderConfig(Section):
    """How splats become pictures, in the render loss and where pictures are measured."""

    blend: Literal["normalised", "sum"] | None = Field(
        None, description="How splats are blended; as they were fitted if unset."
    )
    form: Literal["auto", "dense", "gemm", "sdpa", "native", "triton"] = Field(
        "auto", description="How rendering is computed."
    )
    ssim: float = Field(0.0, ge=0, description="Weight of 1 - SSIM beside the squared error.")
    gain: float = Field(
        100.0, gt=0, description="Factor on the render loss, whose pixels are in [0, 1]."
    )
    ramp: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of training over which loss=mixed changes from splats to pictures.",
    )


class GaussEval(EvalConfig):
    """When and how the model is evaluated, and when it has stopped to improve."""

    every: Cadence = Field("1 epoch", description="How often; always after the last step.")
    sampled: bool = Field(
        False, description="Whether latents are sampled, as in the original; else their mean."
    )
    pictures: int = Field(
        256, ge=0, description="Items of a split that are rendered for the PSNR, the first ones."
    )


class KerasAdam(KindConfig):
    """Adam as Keras writes it: eps is added to the root before the bias is corrected."""

    kind: Literal["keras_adam"] = "keras_adam"
    lr: float = Field(1e-3, gt=0, description="Peak learning rate.")
    beta1: float = Field(0.9, ge=0, lt=1, description="Decay of the first moment.")
    beta2: float = Field(0.999, ge=0, lt=1, description="Decay of the second moment.")
    eps: float = Field(1e-7, gt=0, description="Added to the root of the second moment.")
