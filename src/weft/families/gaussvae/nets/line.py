"""Encoder and decoder along the order of the splats: the Conv1D and the ResNet form.

Features are rows of an image, (B, C, 1, T), with channels innermost in memory, as splats have them.
"""

# B batch, N splats, C channels, T positions, L latents

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from weft.families.gaussvae.nets.conv_norm import conv_norm
from weft.families.gaussvae.nets.keras import KerasBatchNorm, SameConv1d
from weft.families.gaussvae.nets.pooling import pooling
from weft.families.gaussvae.options.sizes import COLUMNS, Sizes
from weft.nn.dense import Dense
from weft.nn.dropout import Dropout

MakeBlock = Callable[[int, int, int, float, int, int], nn.Module]
"""(inputs, outputs, taps, dropout, r, s) -> a block (B, inputs, 1, T) -> (B, outputs, 1, r T / s).

Each position of its input stands r times; it ends in the maximum of s positions.
"""


class ConvBlock(nn.Module):
    """Repetition, convolution, batch norm, ELU, dropout, max-pool."""

    def __init__(
        self, inputs: int, outputs: int, taps: int, dropout: float, repeats: int = 1, pool: int = 1
    ) -> None:
        super().__init__()
        self.conv = SameConv1d(inputs, outputs, taps, repeats)
        self.norm = KerasBatchNorm(outputs)
        self.dropout = Dropout(dropout)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, 1, T) -> (B, outputs, 1, r T / s)."""
        return conv_norm(x, self.conv, self.norm, self.dropout, self.pool)


class ResidualBlock(nn.Module):
    """elu(skip(x) + norm(conv(dropout(elu(norm(conv(x))))))), of x repeated; then a max-pool.

    The skip is a convolution of one tap where the channels differ, else x itself.
    """

    def __init__(
        self, inputs: int, outputs: int, taps: int, dropout: float, repeats: int = 1, pool: int = 1
    ) -> None:
        super().__init__()
        self.repeats, self.pool = repeats, pool
        self.conv1 = SameConv1d(inputs, outputs, taps, repeats)
        self.norm1 = KerasBatchNorm(outputs)
        self.dropout = Dropout(dropout)
        self.conv2 = SameConv1d(outputs, outputs, taps)
        self.norm2 = KerasBatchNorm(outputs)
        self.skip = SameConv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, 1, T) -> (B, outputs, 1, r T / s)."""
        y = conv_norm(x, self.conv1, self.norm1, self.dropout)
        # A convolution of one tap is the same before its results are repeated as after.
        y = F.elu(self.norm2(self.conv2(y)) + repeated(self.skip(x), self.repeats), inplace=True)
        return F.max_pool2d(y, (1, self.pool)) if self.pool > 1 else y


def repeated(x: Tensor, times: int) -> Tensor:
    """Each position of x (B, C, 1, T) `times` times, (B, C, 1, times T)."""
    return x if times == 1 else F.interpolate(x, scale_factor=(1.0, float(times)))


class LineEncoder(nn.Module):
    """Splats to the posterior's mean and log variance: blocks and max-pools, a pool, a dense layer.

    Args:
        sizes: of the nets.
        block: kind of block.
        pool: gap, flatten or attn.
        queries: of pool=attn.
    """

    def __init__(self, sizes: Sizes, block: MakeBlock, pool: str, queries: int) -> None:
        super().__init__()
        self.blocks, half, inputs = nn.ModuleList(), sizes.encoder, COLUMNS
        for outputs, taps, dropout, scale in zip(
            half.filters, half.taps, half.dropout, half.scales, strict=True
        ):
            self.blocks.append(block(inputs, outputs, taps, dropout, 1, scale))
            inputs = outputs
        self.pool = pooling(pool, inputs, sizes.positions, queries)
        self.dense = Dense(self.pool.features, sizes.dense)
        self.norm = KerasBatchNorm(sizes.dense)
        self.dropout = Dropout(sizes.dense_dropout)
        self.mean = Dense(sizes.dense, sizes.latent)
        self.log_var = Dense(sizes.dense, sizes.latent)

    def forward(self, splats: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, 8), standardised -> mean and log variance, each (B, L)."""
        x = splats.transpose(1, 2).unsqueeze(2)
        for block in self.blocks:
            x = block(x)
        x = self.dropout(self.norm(F.elu(self.dense(self.pool(x.squeeze(2))))))
        return self.mean(x), self.log_var(x)


class LineDecoder(nn.Module):
    """Latents to splats: dense layers, blocks with repeated positions, a convolution of one tap."""

    def __init__(self, sizes: Sizes, block: MakeBlock) -> None:
        super().__init__()
        self.dense, self.norms = nn.ModuleList(), nn.ModuleList()
        inputs = sizes.latent
        for units in sizes.units:
            self.dense.append(Dense(inputs, units))
            self.norms.append(KerasBatchNorm(units))
            inputs = units
        self.start, half = sizes.start, sizes.decoder
        self.blocks, inputs, repeats = nn.ModuleList(), self.start[1], 1
        for outputs, taps, dropout, scale in zip(
            half.filters, half.taps, half.dropout, half.scales, strict=True
        ):
            # What a block ends with is repeated by the next one, or by the last convolution.
            self.blocks.append(block(inputs, outputs, taps, dropout, repeats, 1))
            inputs, repeats = outputs, scale
        self.out = SameConv1d(inputs, COLUMNS, 1, repeats)

    def forward(self, z: Tensor) -> Tensor:
        """(B, L) -> standardised splats (B, N, 8)."""
        x = z
        for dense, norm in zip(self.dense, self.norms, strict=True):
            x = norm(F.elu(dense(x)))
        x = x.unflatten(1, self.start).transpose(1, 2).unsqueeze(2)
        for block in self.blocks:
            x = block(x)
        y: Tensor = self.out(x)
        return y.squeeze(2).transpose(1, 2)
