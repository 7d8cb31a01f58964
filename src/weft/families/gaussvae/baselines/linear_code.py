"""Principal components of pixels, quantised and coded as latents are: the code to beat."""

# M pictures, K components, h x w pixels

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weft.families.gaussvae.codec.entropy import Tables
from weft.families.gaussvae.codec.tiles import Bytes
from weft.families.gaussvae.nets.principal import Principal
from weft.families.gaussvae.score.bd_rate import Curve
from weft.families.gaussvae.score.rate import Floats, as_bytes, channels_last, ladder

UNIT = 0.5
"""Of all coefficients alike: the basis is orthonormal, so an error costs the same in each."""
STEPS = (4, 6, 8, 12, 16, 24, 32)
"""Of the quantiser, in quarters of the unit. Components too weak for a step cost next to
nothing, so that each step has as many components as are worth their bits."""


def linear_code(
    principal: Principal, train: Tensor, images: Tensor, steps: Sequence[int] = STEPS
) -> Curve:
    """The curve of principal components on pictures that they were not fitted to.

    Args:
        principal: fitted.
        train: pictures that are counted for the tables, (M, 3, h, w), uint8.
        images: those that are coded.
        steps: of the quantiser.
    """

    def coefficients(pictures: Tensor) -> Floats:
        rows = [principal(chunk.float() / 255).double() for chunk in pictures.split(1024)]
        return (torch.cat(rows) / UNIT).numpy()

    def decode(units: Floats) -> Bytes:
        return as_bytes(principal.back((torch.from_numpy(units) * UNIT).float()))

    with torch.no_grad():
        tables = Tables.of(coefficients(train))
        return ladder(tables, coefficients(images), decode, channels_last(images), steps)
