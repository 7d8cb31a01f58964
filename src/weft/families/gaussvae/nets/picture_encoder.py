"""Encoder of pictures: whitened principal components plus the output of an MLP."""

# N pictures, K components, L latents

from __future__ import annotations

from torch import Tensor, nn

from weft.families.gaussvae.nets.principal import Principal
from weft.families.gaussvae.nets.residual_mlp import ResidualMlp
from weft.nn.dense import Dense

_HALF_WHITE = 32
"""The component whose deviation scales the MLP's inputs, which are halfway to white."""


class PictureEncoder(nn.Module):
    """z = W (q / sd) + MLP(q / sqrt(sd sd_32)) of the coefficients q on principal components.

    At first W = [I 0] and the MLP is 0: z is the first L coefficients, each of variance 1.

    Args:
        principal: the projection; the decoder may share it.
        latent_dim: L, at most K.
        width: of the MLP.
        dropout: of the MLP.
        samples: whether each latent has a log variance besides its mean.
    """

    def __init__(
        self,
        principal: Principal,
        latent_dim: int,
        width: int,
        *,
        dropout: float = 0.0,
        samples: bool = False,
    ) -> None:
        super().__init__()
        components, outputs = len(principal.basis), latent_dim * (2 if samples else 1)
        self.principal, self.samples = principal, samples
        self.linear = Dense(components, outputs)
        self.mlp = ResidualMlp(components, outputs, width, dropout)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        nn.init.eye_(self.linear.weight[:latent_dim])

    def forward(self, images: Tensor) -> Tensor:
        """Means (N, L), or means and raw log variances (N, 2 L), of (N, C, H, W) in [0, 1]."""
        deviation = self.principal.deviation
        middle = deviation[min(_HALF_WHITE, len(deviation)) - 1]
        q = self.principal(images)
        out: Tensor = self.linear(q / deviation) + self.mlp(q * (deviation * middle).rsqrt())
        return out
