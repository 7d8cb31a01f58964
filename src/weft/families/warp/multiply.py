"""The product of rows and a matrix by the device's fastest kernel, with its gradient."""

# M rows, I inputs, O outputs

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from weft.families.warp.product import product


def multiply(rows: Tensor, weight: Tensor) -> Tensor:
    """W x of each row x.

    Args:
        rows: (..., I).
        weight: W, (O, I).
    Returns: (..., O).
    """
    flat: Tensor = _Product.apply(_packed(rows.reshape(-1, rows.shape[-1])), _packed(weight))
    return flat.view(*rows.shape[:-1], len(weight))


def _packed(matrix: Tensor) -> Tensor:
    """A copy, unless rows or columns lie side by side: oneDNN takes seven times as long else."""
    packed = matrix.is_contiguous() or matrix.mT.is_contiguous()
    return matrix if packed else matrix.contiguous()


class _Product(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return product(rows, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, errors: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        errors = _packed(errors)
        return (
            product(errors, weight.mT) if ctx.needs_input_grad[0] else None,
            product(errors.mT, rows.mT) if ctx.needs_input_grad[1] else None,
        )
