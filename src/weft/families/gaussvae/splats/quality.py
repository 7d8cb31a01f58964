"""Similarity of pictures with brightness in [0, 1]: PSNR in decibels, and SSIM."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
"""Side and standard deviation of SSIM's Gaussian window, in pixels (Wang et al., 2004)."""
C1, C2 = 0.01**2, 0.03**2
"""SSIM's constants against 0 / 0, for a data range of 1."""

_LEAST = 1e-10


def psnr(found: Tensor, wanted: Tensor) -> Tensor:
    """10 log10(1 / mean squared error) of each picture.

    Args:
        found, wanted: [..., C, H, W] in [0, 1].
    Returns: [...], decibels, at most 100, the value of equal pictures.
    """
    error = (found - wanted).square().flatten(-3).mean(-1)
    return -10 * error.clamp(min=_LEAST).log10()


def ssim(found: Tensor, wanted: Tensor) -> Tensor:
    """Structural similarity of each picture, the mean over channels and positions of

        (2 m n + c1) (2 s_mn + c2) / ((m^2 + n^2 + c1) (s_m + s_n + c2))

    with means m, n, variances s_m, s_n and covariance s_mn in a Gaussian window, at all positions
    where the window is inside the picture. Smaller pictures get the largest window that fits.

    Args:
        found, wanted: [..., C, H, W] in [0, 1].
    Returns: [...], 1 for equal pictures.
    """
    weights = window(*found.shape[-2:]).tolist()
    # All five at once, and shifted sums instead of a convolution: small pictures are many.
    moments = torch.stack([found, wanted, found.square(), wanted.square(), found * wanted])
    m, n, square_m, square_n, product = _blurred(_blurred(moments, weights, -1), weights, -2)
    s_m, s_n, s_mn = square_m - m.square(), square_n - n.square(), product - m * n
    same = (2 * m * n + C1) * (2 * s_mn + C2)
    alike = same / ((m.square() + n.square() + C1) * (s_m + s_n + C2))
    return alike.flatten(-3).mean(-1)


def _blurred(values: Tensor, weights: list[float], axis: int) -> Tensor:
    """The weighted sum at each position where the whole window is inside the axis."""
    length = values.shape[axis] - len(weights) + 1
    total = weights[0] * values.narrow(axis, 0, length)
    for shift, weight in enumerate(weights[1:], start=1):
        total = total.add(values.narrow(axis, shift, length), alpha=weight)
    return total


def window(height: int, width: int) -> Tensor:
    """The weights of SSIM's window along one axis, float64: 11, or the largest odd number below."""
    side = min(WINDOW, height, width)
    side -= 1 - side % 2
    places = torch.arange(side, dtype=torch.float64, device="cpu") - side // 2
    weights = torch.exp(-(places**2) / (2 * SIGMA**2))
    return weights / weights.sum()
