"""The pool behind a ReLU is torch's, and spreading errors is its adjoint."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from weft.families.cet.trace.pool import Pool

POOLS = [
    Pool((2, 2), (2, 2)),
    Pool((3, 2), (3, 2)),
    Pool((1, 4), (1, 4)),
    Pool((2, 3), (2, 3), divisor=4),
    Pool((2, 2), (1, 1), (1, 1)),
    Pool((4, 4), (4, 4), ceil_mode=True),
]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("pool", POOLS)
def test_pool_and_its_adjoint_are_those_of_autograd(
    pool: Pool, layout: torch.memory_format
) -> None:
    z = torch.randn(3, 4, 6, 12, dtype=torch.float64).contiguous(memory_format=layout)
    z.requires_grad_()
    hidden = z.relu()
    hidden.retain_grad()
    expected = functional.avg_pool2d(hidden, *pool)
    error = torch.randn_like(expected)
    expected.backward(error)
    shared_out, hidden = hidden.grad, hidden.detach()
    assert z.grad is not None
    assert shared_out is not None
    averaged, spread = pool.average(hidden), pool.spread(error, hidden)
    torch.testing.assert_close(averaged, expected.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(spread, z.grad, rtol=1e-12, atol=1e-12)
    assert spread.is_contiguous(memory_format=layout)
    energy = shared_out.square().flatten(1).sum(1)
    torch.testing.assert_close(pool.energy(error, hidden), energy, rtol=1e-12, atol=1e-12)


def test_an_error_in_another_layout_is_spread_the_same() -> None:
    pool, hidden = POOLS[0], torch.randn(2, 3, 4, 4).relu()
    error = torch.randn(2, 3, 2, 2)
    expected = pool.spread(error, hidden)
    turned = error.contiguous(memory_format=torch.channels_last)
    assert torch.equal(pool.spread(turned, hidden), expected)
