"""Decoder from latents to splats on a grid; colours start as linear functions of the latent."""

# N pictures, S splats, L latents, P = H W pixels

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from weft.families.gaussvae.nets.principal import Principal
from weft.families.gaussvae.nets.residual_mlp import ResidualMlp
from weft.families.gaussvae.splats.rasterise import render
from weft.nn.dense import Dense
from weft.nn.precision import full_precision, widened

REACH = 1.0
"""Largest distance of a splat's centre from that of its cell, in cells."""
SPREAD = 0.6
"""Initial standard deviation of a splat, in cells."""
SIZE_MOST, SHAPE_MOST = 3.0, 2.5
"""Bounds on the change of m from its start, and on a and b."""
RIDGE = 1e-3
"""Ridge of the linear start, relative to the mean square of a splat's picture."""
_BLANK_GEOMETRY = 5


class SplatDecoder(nn.Module):
    """S splats in the layout `logcov`, one for each cell of a grid, row by row.

    With y = MLP(z) and a linear map of its own for colours:
    centre = cell + REACH cells tanh(y_u, y_v); m = log (SPREAD cell)^2 + y_m, in +-SIZE_MOST;
    a, b = y_a, y_b, in +-SHAPE_MOST; colour = linear(z) + y_c / 2.

    Args:
        size: (H, W) of the pictures, whose pixels shapes are counted in.
        cells: (rows, columns) of the grid; S is their product.
        latent_dim: L.
        width: of the MLP.
        shapes: whether centres and covariances depend on the latent; if not, the grid is fixed.
    """

    base: Tensor
    reach: Tensor

    def __init__(
        self,
        size: tuple[int, int],
        cells: tuple[int, int],
        latent_dim: int,
        width: int,
        *,
        shapes: bool = True,
    ) -> None:
        super().__init__()
        (height, wide), (rows, columns) = size, cells
        self.size, self.cells, self.shapes = size, cells, shapes
        count = rows * columns
        y, x = torch.meshgrid(
            (torch.arange(rows) + 0.5) / rows,
            (torch.arange(columns) + 0.5) / columns,
            indexing="ij",
        )
        tall, broad = 2 * math.log(SPREAD * height / rows), 2 * math.log(SPREAD * wide / columns)
        base = torch.zeros(count, 8)
        base[:, 0], base[:, 1] = x.flatten(), y.flatten()
        base[:, 2], base[:, 3] = (tall + broad) / 2, (broad - tall) / 2
        self.register_buffer("base", base, persistent=False)
        reach = torch.tensor((REACH / columns, REACH / rows))
        self.register_buffer("reach", reach, persistent=False)
        self.colour = Dense(latent_dim, 3 * count)
        nn.init.zeros_(self.colour.bias)
        self.mlp = ResidualMlp(latent_dim, (8 if shapes else 3) * count, width)

    def forward(self, z: Tensor) -> Tensor:
        """Splats (N, S, 8) of latents (N, L), float32."""
        count = len(self.base)
        colour, change = widened(self.colour(z)), widened(self.mlp(z))
        colour = colour.view(-1, count, 3)
        if not self.shapes:
            colour = colour + 0.5 * change.view(-1, count, 3)
            return torch.cat((self.base[:, :5].expand(z.shape[0], -1, -1), colour), -1)
        # One split has one concatenation as its gradient; each slice would fill a tensor of zeros.
        place, size, shape, tint = change.view(-1, count, 8).split((2, 1, 2, 3), -1)
        return torch.cat(
            (
                self.base[:, :2] + self.reach * place.tanh(),
                self.base[:, 2:3] + size.clamp(-SIZE_MOST, SIZE_MOST),
                self.base[:, 3:5] + shape.clamp(-SHAPE_MOST, SHAPE_MOST),
                colour + 0.5 * tint,
            ),
            -1,
        )

    @torch.no_grad()
    def start_from(self, principal: Principal) -> None:
        """Sets the linear colours so that the rendered grid is nearest to principal components.

        Least squares with ridge: colours C_j of latent j solve (B'B + r I) C_j = B' (sd_j v_j),
        with B (P, S) the picture that each splat of the grid makes when it alone is white.

        Args:
            principal: fitted, of pictures with three channels.
        """
        latent_dim = self.colour.in_features
        seen = self._pictures_of_each()
        # In float64, as overlapping splats make the normal equations ill-conditioned.
        wanted = torch.cat(
            (
                principal.basis[:latent_dim] * principal.deviation[:latent_dim, None],
                principal.mean[None],
            )
        )
        right = wanted.view(-1, 3, seen.shape[0]).double().transpose(1, 2)
        normal = seen.t() @ seen
        normal.diagonal().add_(RIDGE * float(normal.diagonal().mean()))
        colours = torch.linalg.solve(normal, seen.t() @ right)
        flat = colours.flatten(1).float()
        self.colour.weight.copy_(flat[:-1].t())
        self.colour.bias.copy_(flat[-1])

    def _pictures_of_each(self) -> Tensor:
        """B (P, S), float64: the grid is rendered three splats at a time, in the three colours."""
        count = len(self.base)
        rounds = math.ceil(count / 3)
        splats = self.base.expand(rounds, -1, -1).clone()
        each = torch.arange(count, device=splats.device)
        splats[each // 3, each, _BLANK_GEOMETRY + each % 3] = 1
        with full_precision(splats.device):
            pictures = render(splats, *self.size)
        return pictures.flatten(2).flatten(0, 1)[:count].t().double()
