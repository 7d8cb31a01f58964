"""Norm, ELU, dropout and pool in compiled passes agree with torch, slopes and statistics too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from weft.errors import UsageError
from weft.families.gaussvae.nets import block_end as tested
from weft.families.gaussvae.nets.block_end import block_end
from weft.families.gaussvae.nets.keras import KerasBatchNorm
from weft.nn.dropout import Dropout

pytest.importorskip("numba")

SIZES = ((32, 128, 2), (64, 64, 1), (16, 256, 1), (128, 36, 3))
"""Channels, positions, pool."""


def given(channels: int, positions: int) -> tuple[Tensor, KerasBatchNorm]:
    """Eight lines in channels-last memory, of which no channel has mean 0 and deviation 1."""
    torch.manual_seed(0)
    x = (3 * torch.randn(8, positions, channels) + 2 * torch.randn(channels)).transpose(1, 2)
    norm = KerasBatchNorm(channels)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    return x.unsqueeze(2), norm


def plain(x: Tensor, norm: KerasBatchNorm, pool: int, mask: Tensor | None = None) -> Tensor:
    y = F.elu(norm(x))
    return F.max_pool2d(y if mask is None else y * mask, (1, pool))


def known(x: Tensor, norm: KerasBatchNorm, y: Tensor, slope: Tensor) -> list[Tensor]:
    """The result, three slopes and two statistics."""
    y.backward(slope)
    assert x.grad is not None
    assert norm.weight.grad is not None
    assert norm.bias.grad is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    slopes = [x.grad, norm.weight.grad, norm.bias.grad]
    return [y.detach(), *slopes, norm.running_mean, norm.running_var]


@pytest.mark.parametrize(("channels", "positions", "pool"), SIZES)
def test_compiled_passes_are_torchs_layers(channels: int, positions: int, pool: int) -> None:
    found = []
    for dtype, call in (
        (torch.float32, lambda x, norm: block_end(x, norm, Dropout(0.0), pool)),
        (torch.float64, lambda x, norm: plain(x, norm, pool)),
    ):
        x, norm = given(channels, positions)
        x, norm = x.to(dtype).requires_grad_(), norm.to(dtype)
        assert tested._can(x, norm, pool) == (dtype == torch.float32)
        y = call(x, norm)
        assert y.shape == (8, channels, 1, positions // pool)
        torch.manual_seed(1)
        found.append(known(x, norm, y, torch.randn(y.shape).to(dtype)))
    for mine, true in zip(*found, strict=True):
        torch.testing.assert_close(mine.double(), true, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("channels", "positions", "pool"), SIZES)
def test_bf16_is_rounded_once(channels: int, positions: int, pool: int) -> None:
    x, norm = given(channels, positions)
    x = x.bfloat16()
    y = block_end(x, norm, Dropout(0.0), pool)
    assert y.dtype == torch.bfloat16
    true = plain(x.double(), norm.double(), pool)
    off = (y.double() - true).abs()
    assert (off <= true.abs() * 2**-8 + 1e-6).all()


def test_slopes_of_bf16_come_back() -> None:
    found = []
    for dtype, call in (
        (torch.bfloat16, lambda x, norm: block_end(x, norm, Dropout(0.0))),
        (torch.float32, lambda x, norm: plain(x, norm, 1)),
    ):
        x, norm = given(32, 128)
        x = x.bfloat16().to(dtype).requires_grad_()
        y = call(x, norm)
        torch.manual_seed(1)
        found.append(known(x, norm, y, torch.randn(y.shape).bfloat16().to(dtype)))
    for mine, true in zip(*found, strict=True):
        torch.testing.assert_close(mine.float(), true, rtol=2e-2, atol=2e-2 * float(true.std()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_its_share_and_its_mask(dtype: torch.dtype) -> None:
    x, norm = given(32, 512)
    x, share = x.to(dtype).requires_grad_(), 0.3
    y = block_end(x, norm, Dropout(share))
    mask = (y != 0).detach()
    count = mask.numel()
    assert abs(float(mask.float().mean()) - 0.7) < 4 * (0.21 / count) ** 0.5
    # No line, place or channel drops more often than chance has it: five sigmas of each mean.
    for others in ((1, 2, 3), (0, 1, 2), (0, 2, 3)):
        means = mask.float().mean(others)
        assert (means - 0.7).abs().max() < 5 * (0.21 * means.numel() / count) ** 0.5
    again = block_end(x, norm, Dropout(share)) != 0
    assert abs(float((again == mask).float().mean()) - 0.58) < 4 * (0.25 / count) ** 0.5
    slope = torch.randn(y.shape).to(dtype)
    y.backward(slope)
    true = x.detach().float().requires_grad_()
    other = given(32, 512)[1]
    plain(true, other, 1, mask / 0.7).backward(slope.float())
    assert x.grad is not None
    assert true.grad is not None
    near = 1e-4 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(x.grad.float(), true.grad, rtol=near, atol=near)


def test_the_mask_follows_torchs_seed() -> None:
    x, norm = given(32, 128)
    torch.manual_seed(5)
    first = block_end(x, norm, Dropout(0.5))
    torch.manual_seed(5)
    assert torch.equal(block_end(x, norm, Dropout(0.5)), first)


def test_results_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "_SHARED", 0)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            x, norm = given(64, 128)
            x.requires_grad_()
            y = block_end(x, norm, Dropout(0.0), 2)
            found.append(known(x, norm, y, torch.ones_like(y)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_what_the_passes_do_not_take_goes_to_torch() -> None:
    x, norm = given(32, 128)
    assert tested._can(x, norm, 1)
    assert not tested._can(x[:1], norm, 1)
    assert not tested._can(x.contiguous(), norm, 1)
    assert not tested._can(x, norm, 3)
    assert not tested._can(x.double(), norm, 1)
    assert not tested._can(x, norm.eval(), 1)
    norm.train()
    narrow, other = given(24, 256)
    assert not tested._can(narrow, other, 1)
    assert block_end(narrow, other, Dropout(0.1), 2).shape == (8, 24, 1, 128)


def test_a_second_derivative_is_refused() -> None:
    x, norm = given(32, 128)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(block_end(x, norm, Dropout(0.0)).sum(), x, create_graph=True)
    with pytest.raises(UsageError, match="written by hand"):
        slope.square().sum().backward()
