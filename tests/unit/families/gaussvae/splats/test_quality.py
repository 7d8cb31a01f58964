"""PSNR and SSIM against formulas written out with scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from weft.families.gaussvae.splats.quality import psnr, ssim


def _pair(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(height)
    first = torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64)
    noise = torch.rand(2, 3, height, width, generator=generator, dtype=torch.float64)
    return first, (0.7 * first + 0.3 * noise)


def _written_out(x: np.ndarray, y: np.ndarray, side: int) -> float:
    """SSIM of one channel, two-dimensional convolutions with a window made by hand."""
    places = np.arange(side) - side // 2
    window = np.exp(-(places[:, None] ** 2 + places[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(values: np.ndarray) -> np.ndarray:
        return convolve2d(values, window, mode="valid")

    m, n = mean(x), mean(y)
    s_x, s_y, s_xy = mean(x * x) - m * m, mean(y * y) - n * n, mean(x * y) - m * n
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * m * n + c1) * (2 * s_xy + c2)
    return float((top / ((m * m + n * n + c1) * (s_x + s_y + c2))).mean())


@pytest.mark.parametrize(("height", "width", "side"), [(16, 23, 11), (8, 20, 7), (1, 5, 1)])
def test_ssim_is_that_of_two_dimensional_convolutions(height: int, width: int, side: int) -> None:
    first, second = _pair(height, width)
    wanted = [
        np.mean([_written_out(x.numpy(), y.numpy(), side) for x, y in zip(a, b, strict=True)])
        for a, b in zip(first, second, strict=True)
    ]
    assert ssim(first, second).numpy() == pytest.approx(np.array(wanted), abs=1e-12)


def test_ssim_sees_what_a_data_range_of_255_would_not() -> None:
    first, second = _pair(16, 16)
    assert ssim(first, second).max() < 0.95
    assert ssim(first, first).eq(1).all()


def test_psnr_is_decibels_below_one() -> None:
    wanted = torch.zeros(2, 3, 4, 4)
    assert psnr(wanted + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1), wanted).tolist() == (
        pytest.approx([20, 40], abs=1e-4)
    )
    assert psnr(wanted, wanted).tolist() == [100, 100]
