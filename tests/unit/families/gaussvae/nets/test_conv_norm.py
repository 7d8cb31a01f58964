"""A convolution and what follows it in compiled passes: torch's layers, slopes and statistics."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from weft.errors import UsageError
from weft.families.gaussvae.nets import conv_norm as tested
from weft.families.gaussvae.nets.conv_norm import conv_norm
from weft.families.gaussvae.nets.keras import KerasBatchNorm, SameConv1d
from weft.nn.dropout import Dropout

pytest.importorskip("numba")


@dataclass
class Block:
    """Layers, what they are given, and how many positions a pool takes."""

    x: Tensor
    conv: SameConv1d
    norm: KerasBatchNorm
    pool: int = 1

    def to(self, dtype: torch.dtype) -> Block:
        """A copy in another dtype."""
        conv, norm = copy.deepcopy(self.conv).to(dtype), copy.deepcopy(self.norm).to(dtype)
        return Block(self.x.detach().to(dtype).requires_grad_(), conv, norm, self.pool)

    def ours(self, dropout: float = 0.0) -> Tensor:
        return conv_norm(self.x, self.conv, self.norm, Dropout(dropout), self.pool)

    def plain(self, mask: Tensor | None = None) -> Tensor:
        """Torch's layers, one after the other, positions repeated beforehand."""
        taps = self.conv.kernel_size[0]
        longer = self.x[:, :, 0].repeat_interleave(self.conv.repeats, 2)
        padded = F.pad(longer, ((taps - 1) // 2, taps // 2))
        y = F.elu(self.norm(F.conv1d(padded, self.conv.weight, self.conv.bias)))
        return F.max_pool1d(y if mask is None else y * mask[:, :, 0], self.pool).unsqueeze(2)

    def known(self, y: Tensor) -> dict[str, Tensor]:
        """The result, slopes and statistics, given that of the result."""
        torch.manual_seed(1)
        y.backward(torch.randn(y.shape).bfloat16().to(y.dtype))
        named = {"y": y.detach(), "x": self.x.grad}
        named |= {f"conv.{name}": p.grad for name, p in self.conv.named_parameters()}
        named |= {f"norm.{name}": p.grad for name, p in self.norm.named_parameters()}
        named |= {"mean": self.norm.running_mean, "variance": self.norm.running_var}
        assert all(value is not None for value in named.values())
        return {name: value for name, value in named.items() if value is not None}

    def can(self) -> bool:
        return tested._can(self.x, self.x.dtype, self.conv, self.norm, self.pool)


def block(
    outputs: int = 32, positions: int = 128, pool: int = 1, repeats: int = 1, taps: int = 5
) -> Block:
    """Eight lines of eight channels in channels-last memory; norms are not those of the start."""
    torch.manual_seed(0)
    x = (3 * torch.randn(8, positions, 8) + 2 * torch.randn(8)).transpose(1, 2).unsqueeze(2)
    made = Block(x, SameConv1d(8, outputs, taps, repeats), KerasBatchNorm(outputs), pool)
    torch.nn.init.normal_(made.norm.weight)
    torch.nn.init.normal_(made.norm.bias)
    return made


BLOCKS = [
    block(32, 128, 2),
    block(64, 64),
    block(16, 256, taps=3),
    block(128, 36, 3),
    block(32, 64, repeats=2),
    block(16, 128, 2, 3),
]


@pytest.mark.parametrize("given", BLOCKS)
def test_compiled_passes_are_torchs_layers(given: Block) -> None:
    mine, true = given.to(torch.float32), given.to(torch.float64)
    assert mine.can()
    assert not true.can()
    found, wanted = mine.known(mine.ours()), true.known(true.plain())
    for name, value in wanted.items():
        # Norms take the mean away, and with it what the bias of a convolution does.
        wide = 1e-3 if name == "conv.bias" else 3e-5 * max(1.0, float(value.abs().max()))
        torch.testing.assert_close(found[name].double(), value, rtol=0, atol=wide, msg=name)


@pytest.mark.parametrize("given", BLOCKS)
def test_autocast_is_bf16_from_one_convolution_to_the_next(given: Block) -> None:
    mine, true = given.to(torch.float32), given.to(torch.float64)
    with torch.autocast("cpu", torch.bfloat16):
        y = mine.ours()
        again = given.to(torch.float32)
        layers = again.norm(again.conv(again.x))
    assert y.dtype == torch.bfloat16
    found, wanted = mine.known(y), true.known(true.plain())
    plain = again.known(F.max_pool2d(F.elu(layers), (1, given.pool)))
    for name, value in wanted.items():
        if name == "conv.bias":
            continue
        assert found[name].dtype == (torch.bfloat16 if name == "y" else torch.float32)
        off, other = ((each[name].double() - value).norm() for each in (found, plain))
        assert off < 1.2 * other + 1e-5 * value.norm(), (name, float(off), float(other))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_keeps_its_share_and_its_mask(dtype: torch.dtype) -> None:
    mine, true = (block(positions=512).to(torch.float32) for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        y = mine.ours(0.3)
        again = mine.ours(0.3) != 0
    mask = (y != 0).detach()
    count = mask.numel()
    assert abs(float(mask.float().mean()) - 0.7) < 4 * (0.21 / count) ** 0.5
    # No line, place or channel drops more often than chance has it: five sigmas of each mean.
    for others in ((1, 2, 3), (0, 1, 2), (0, 2, 3)):
        means = mask.float().mean(others)
        assert (means - 0.7).abs().max() < 5 * (0.21 * means.numel() / count) ** 0.5
    assert abs(float((again == mask).float().mean()) - 0.58) < 4 * (0.25 / count) ** 0.5
    found, wanted = mine.known(y), true.known(true.plain(mask / 0.7))
    near = 1e-4 if dtype == torch.float32 else 2e-2
    for name in ("y", "x", "conv.weight", "norm.weight", "norm.bias"):
        off = (found[name].float() - wanted[name]).norm()
        assert off < near * wanted[name].norm(), name


def test_the_mask_follows_torchs_seed() -> None:
    given = block()
    torch.manual_seed(5)
    first = given.ours(0.5)
    torch.manual_seed(5)
    assert torch.equal(given.ours(0.5), first)


def test_passes_over_several_threads_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for pieces in (1, 3):

        def over(_: object, parts: int, work: Any, pieces: int = pieces) -> None:
            edges = [parts * piece // pieces for piece in range(pieces + 1)]
            for first, last in reversed(list(pairwise(edges))):
                work(first, last)

        monkeypatch.setattr(tested, "_over", over)
        given = block(64, 128, 2).to(torch.float32)
        found.append(given.known(given.ours()))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_what_the_passes_do_not_take_goes_to_torch() -> None:
    assert block().can()
    assert not block(positions=64, outputs=16).can()
    assert not block(pool=3).can()
    assert not block(taps=4, positions=256).can()
    assert not block().to(torch.float64).can()
    other = block()
    other.norm.eval()
    assert not other.can()
    narrow = block(24, 256, 2)
    assert not narrow.can()
    assert narrow.ours(0.1).shape == (8, 24, 1, 128)


def test_a_second_derivative_is_refused() -> None:
    given = block().to(torch.float32)
    (slope,) = torch.autograd.grad(given.ours().sum(), given.x, create_graph=True)
    with pytest.raises(UsageError, match="written by hand"):
        slope.square().sum().backward()
