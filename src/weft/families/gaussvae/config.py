"""Options of a gaussvae run: data, nets, loss, KL, rendering."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from weft.config.base import FamilyConfig
from weft.config.family import Parallel
from weft.config.rule import Rule
from weft.config.section import KindConfig
from weft.config.sections import Adam
from weft.families.gaussvae.options.needs import NEEDS
from weft.families.gaussvae.options.picture import PictureConfig
from weft.families.gaussvae.options.sections import (
    BetaConfig,
    GaussData,
    GaussEval,
    GroupWeights,
    KlConfig,
    NetConfig,
    RenderConfig,
)

CONVOLUTIONAL = ("conv1d", "resnet")


class Config(FamilyConfig):
    """A variational autoencoder of splat sets."""

    needs = NEEDS

    family: Literal["gaussvae"] = Field("gaussvae", description="Which family trains.")
    batch_size: int = Field(32, ge=2, description="Pictures in a training batch, over all ranks.")
    arch: Literal["conv1d", "resnet", "grid2d", "image"] = Field(
        "conv1d",
        description="Convolutions along the order of the splats, the same in residual blocks, or "
        "in the plane, for splats anchored to a grid; or from pixels to splats, see `picture`.",
    )
    latent_dim: int = Field(256, ge=1, description="Latents L.")
    pool: Literal["gap", "flatten", "attn"] = Field(
        "flatten",
        description="What becomes of the encoder's last features: their mean over positions, all "
        "of them, or what learned queries attend to.",
    )
    loss: Literal["equal", "channels", "perscalar", "render", "mixed"] = Field(
        "equal",
        description="Sum of the groups' losses; divided by their columns; weighted by them (a mean "
        "over columns); the error of the rendered picture; or from the third to that.",
    )
    monitor: Literal["recon_loss", "total_loss", "psnr", "fvu", "psnr_refined"] = Field(
        "recon_loss", description="Which metric of held-out pictures selects the best weights."
    )
    weights: GroupWeights = Field(GroupWeights(), description="Weights of the groups.")
    beta: BetaConfig = Field(BetaConfig(), description="Weight of the KL term.")
    kl: KlConfig = Field(KlConfig(), description="KL term.")
    net: NetConfig = Field(NetConfig(), description="Nets.")
    render: RenderConfig = Field(RenderConfig(), description="Rendering.")
    picture: PictureConfig = Field(PictureConfig(), description="Nets and error of arch=image.")
    data: GaussData = Field(GaussData(), description="Data.")
    optim: KindConfig = Field(Adam(), description="Optimiser.")
    eval: GaussEval = Field(GaussEval(), description="Evaluation.")

    @property
    def samples(self) -> bool:
        """Whether arch=image samples its latents; only if there is a KL term."""
        return self.beta.max > 0

    def rules(self) -> Iterator[Rule]:
        """Combinations of options that are refused."""
        if self.arch == "image":
            yield from self._picture_rules()
        else:
            yield from self._net_rules()
        yield Rule(
            ("monitor", "eval.pictures"),
            self.monitor == "psnr" and self.eval.pictures == 0,
            "`monitor` psnr needs rendered pictures, and `eval.pictures` is 0",
            "set `eval.pictures` to 256, say",
        )
        yield Rule(
            ("kl.floor", "kl.log_var_limit"),
            self.kl.log_var_limit is not None and self.kl.floor > self.kl.log_var_limit / 2,
            f"`kl.floor` {self.kl.floor:g} nats asks for log variances below "
            f"-{self.kl.log_var_limit or 0:g}, the limit",
            "lower `kl.floor`",
        )

    def _picture_rules(self) -> Iterator[Rule]:
        """Rules on arch=image, which learns from pixels."""
        options = self.picture
        yield Rule(
            ("arch", "loss"),
            self.loss != "render",
            f"`arch` image has no splats to compare with, and `loss` {self.loss} compares splats",
            "set `loss` to render",
        )
        yield Rule(
            ("arch", "monitor", "picture.refine"),
            self.monitor not in ("psnr", "psnr_refined", "recon_loss")
            or (self.monitor == "psnr_refined" and not options.refine),
            f"arch=image with `picture.refine` {options.refine} does not measure {self.monitor}",
            "set `monitor` to psnr",
        )
        yield Rule(
            ("picture.splats",),
            math.isqrt(options.splats) ** 2 != options.splats,
            f"`picture.splats` {options.splats} is no square number, and splats lie on a grid",
            f"set it to {math.isqrt(options.splats) ** 2}, say",
        )
        yield Rule(
            ("latent_dim", "picture.components"),
            self.latent_dim > options.components,
            f"`latent_dim` {self.latent_dim} is more than the {options.components} components that "
            "latents begin as",
            "raise `picture.components`",
        )
        yield Rule(
            ("picture.error", "render.ssim"),
            options.error == "log" and self.render.ssim > 0,
            "`render.ssim` stands beside the squared error, and `picture.error` is log",
            "set `picture.error` to mse, or `render.ssim` to 0",
        )

    def _net_rules(self) -> Iterator[Rule]:
        """Rules on lengths of lists that belong together, and on the decoder's reshape."""
        net = self.net
        for side, others in (
            ("encoder", ("kernel_sizes", "pool_sizes", "dropout_rates")),
            ("decoder", ("kernel_sizes", "upsample_sizes", "dropout_rates")),
        ):
            filters = getattr(net, f"{side}_filters")
            wanted = len(filters) if filters else _BLOCKS[self.arch][side]
            for other in others:
                values = getattr(net, f"{side}_{other}")
                yield Rule(
                    (f"net.{side}_{other}", f"net.{side}_filters", "arch"),
                    values is not None and len(values) != wanted,
                    f"`net.{side}_{other}` has {len(values or ())} entries for {wanted} blocks",
                    f"give it {wanted}, one for each of `net.{side}_filters`",
                )
        units, shape = net.decoder_dense_units, net.decoder_reshape_target
        yield Rule(
            ("net.decoder_dense_units", "net.decoder_reshape_target"),
            units is not None and shape is not None and math.prod(shape) != units[-1],
            f"`net.decoder_reshape_target` {list(shape or ())} holds {math.prod(shape or ())} "
            f"numbers, the last of `net.decoder_dense_units` is {units[-1] if units else 0}",
            "let their product be that number",
        )


_BLOCKS = {
    "conv1d": {"encoder": 3, "decoder": 3},
    "resnet": {"encoder": 5, "decoder": 5},
    "grid2d": {"encoder": 3, "decoder": 3},
}
"""Architecture -> number of blocks of encoder and decoder if their filters are unset."""


def parallel(config: Config) -> Parallel:
    """What of a batch may be split over processes and by accumulation.

    It is nothing if a net has batch norm, or if the KL term depends on the whole batch.
    """
    joint = config.arch in CONVOLUTIONAL or config.kl.is_joint
    return "none" if joint else "items"
