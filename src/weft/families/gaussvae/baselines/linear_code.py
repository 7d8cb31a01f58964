"""Principal components of pixels, quantised and coded like latents: the baseline code."""

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
"""The unit of all coefficients; the basis is orthonormal, so that errors in all count the same."""
STEPS = (4, 6, 8, 12, 16, 24, 32)
"""Steps of the quantiser in quarters of the unit. Components that are small compared with a step
cost almost no bits, so that each step uses the components that are worth their bits."""


def linear_code(
    principal: Principal, train: Tensor, images: Tensor, steps: Sequence[int] = STEPS
) -> Curve:
    """The rate-distortion curve of principal components on pictures other than those of their fit.

    Args:
        principal: fitted components.
        train: pictures from which the probability tables are counted, uint8 (M, 3, h, w).
        images: the pictures to code.
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
