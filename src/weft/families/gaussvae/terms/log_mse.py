"""The render loss in decibels: the logarithm of each picture's squared error."""

from __future__ import annotations

from torch import Tensor

FLOOR = 1e-4
"""Added to the squared error, so that the loss is bounded below; it corresponds to 40 dB."""


def log_mse(found: Tensor, wanted: Tensor) -> Tensor:
    """log(mean squared error + FLOOR) of each picture: -0.23 times its PSNR where that is < 40 dB.

    Args:
        found, wanted: (N, C, H, W) in [0, 1].
    Returns: (N,), nats.
    """
    return ((found - wanted).square().flatten(1).mean(1) + FLOOR).log()
