"""Rounding to bits: as many values as they count, ends kept, gradients let through."""

from __future__ import annotations

import pytest
import torch

from weft.errors import UsageError
from weft.families.gaussvae.splats.quantise import GROUPS, bits_of, quantised

SPLATS = torch.rand(2, 300, 8, generator=torch.Generator().manual_seed(0))


def test_each_group_of_columns_takes_its_own_number_of_values() -> None:
    bits = (4, 5, 6, 7)
    found = quantised(SPLATS, bits)
    for columns, each in zip(GROUPS.values(), bits, strict=True):
        for one, exact in zip(found[..., columns], SPLATS[..., columns], strict=True):
            assert len(one.unique()) <= 2**each
            assert one.min() == exact.min() and one.max() == exact.max()
            step = (exact.max() - exact.min()) / (2**each - 1)
            assert (one - exact).abs().max() <= step / 2 + 1e-6


def test_more_bits_are_nearer_and_32_are_as_good_as_none() -> None:
    off = [(quantised(SPLATS, (n, n, n, n)) - SPLATS).abs().max().item() for n in (4, 8, 16, 32)]
    assert off == sorted(off, reverse=True)
    assert off[-1] < 1e-7


def test_the_gradient_passes_straight_through() -> None:
    splats = SPLATS.clone().requires_grad_()
    (quantised(splats, (4, 4, 4, 4)) * SPLATS).sum().backward()
    assert splats.grad is not None and splats.grad.equal(SPLATS)


def test_numbers_that_are_all_the_same_stay() -> None:
    same = torch.full((1, 3, 8), 0.3)
    assert quantised(same, (4, 4, 4, 4)).equal(same)


def test_bits_are_counted_by_columns() -> None:
    assert bits_of(10, (16, 16, 16, 16)) == 10 * 8 * 16
    assert bits_of(1, (5, 6, 7, 8)) == 2 * 5 + 2 * 6 + 7 + 3 * 8


@pytest.mark.parametrize("bits", [(3, 8, 8, 8), (8, 8, 8, 33)])
def test_other_numbers_of_bits_are_refused(bits: tuple[int, int, int, int]) -> None:
    with pytest.raises(UsageError):
        quantised(SPLATS, bits)
