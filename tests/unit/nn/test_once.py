"""Second derivatives of gradients that are written by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from weft.errors import UsageError
from weft.nn.once import once


class _Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @once
    def backward(ctx: Any, error: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        product: Tensor = 2 * x * error
        return product


@pytest.mark.parametrize("by_name", [False, True])
def test_a_second_derivative_is_refused_beside_terms_that_have_one(by_name: bool) -> None:
    x = torch.tensor(3.0, requires_grad=True)
    out = _Square.apply(x.sin())
    (slope,) = torch.autograd.grad(out, x, create_graph=True)
    torch.testing.assert_close(slope, 2 * x.sin() * x.cos())
    loss = x.square() + slope.square()
    with pytest.raises(UsageError, match="has no derivative"):
        torch.autograd.grad(loss, x) if by_name else loss.backward()


def test_a_first_derivative_has_no_graph() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    _Square.apply(x).backward()
    assert x.grad is not None and x.grad.item() == 6 and not x.grad.requires_grad
