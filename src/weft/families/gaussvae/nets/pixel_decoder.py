"""Decoder from latents to pixels without splats, as a control for the splats' benefit."""

# N pictures, P numbers of one, L latents

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.families.gaussvae.nets.principal import Principal
from weft.families.gaussvae.nets.residual_mlp import ResidualMlp
from weft.nn.dense import Dense
from weft.nn.precision import widened


class PixelDecoder(nn.Module):
    """x = linear(z) + MLP(z) / 2, of the same width as the decoder of splats.

    Args:
        shape: (C, H, W) of a picture.
        latent_dim: L.
        width: of the MLP.
    """

    def __init__(self, shape: tuple[int, int, int], latent_dim: int, width: int) -> None:
        super().__init__()
        channels, height, wide = self.shape = shape
        size = channels * height * wide
        self.linear = Dense(latent_dim, size)
        nn.init.zeros_(self.linear.bias)
        self.mlp = ResidualMlp(latent_dim, size, width)

    def forward(self, z: Tensor) -> Tensor:
        """Pictures (N, C, H, W), float32, of latents (N, L)."""
        return widened(self.linear(z) + 0.5 * self.mlp(z)).view(-1, *self.shape)

    @torch.no_grad()
    def start_from(self, principal: Principal) -> None:
        """Sets the linear part to the principal components, for latents of variance 1."""
        used = principal.basis[: self.linear.in_features]
        self.linear.weight.copy_((used * principal.deviation[: len(used), None]).t())
        self.linear.bias.copy_(principal.mean)
