"""The slope of a fit's error, by hand and compiled, is that of autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft.families.gaussvae.splats.likeness import Likeness
from weft.families.gaussvae.splats.quality import ssim


def _pictures(*size: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    wanted = torch.rand(3, *size, generator=draw)
    found = 0.8 * wanted + 0.3 * torch.rand(3, *size, generator=draw)
    found[0, 0, 0] = wanted[0, 0, 0]
    return found, wanted


@pytest.mark.parametrize("size", [(13, 30), (8, 20)])
@pytest.mark.parametrize("weights", [(1.0, 0.5, 0.1), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("compiled", [True, False])
def test_it_is_the_slope_that_autograd_finds(
    compiled: bool, weights: tuple[float, float, float], size: tuple[int, int]
) -> None:
    if compiled:
        pytest.importorskip("numba")
    found, wanted = _pictures(*size)
    free = found.double().requires_grad_()
    error, (l1, l2, unlike) = free - wanted, weights
    loss = l1 * error.abs().mean() + l2 * error.square().mean()
    (loss + unlike * (1 - ssim(free, wanted.double()))).backward()
    assert free.grad is not None
    slope = Likeness(wanted, *weights, compiled=compiled).slope(found)
    assert (slope - free.grad).norm() < 2e-5 * free.grad.norm()


@pytest.mark.gpu
def test_a_gpu_finds_it_in_all_digits() -> None:
    found, wanted = _pictures(40, 70)
    weights = (1.0, 0.5, 0.1)
    exact = Likeness(wanted.double(), *weights).slope(found.double())
    slope = Likeness(wanted.cuda(), *weights).slope(found.cuda()).cpu()
    assert (slope - exact).norm() < 2e-5 * exact.norm()
