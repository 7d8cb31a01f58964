"""Checks of callers' tensors: their shapes, and the range of their values."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor

from weft.errors import DataError


def check_shapes(
    x: Tensor,
    channels: int,
    *,
    force: Tensor | None = None,
    sample: Tensor | None = None,
    length: Tensor | None = None,
) -> None:
    """Checks that sequences x are (N, T, channels), and that the other tensors match them.

    Args:
        x: of floating point, N >= 1, T >= 1.
        channels: d.
        force: (N, T).
        sample: (N, T, d).
        length: whole numbers, (N,).
    Raises:
        DataError: if one is wrong; the error names it.
    """
    if x.dim() != 3 or 0 in x.shape[:2] or x.shape[2] != channels:
        raise DataError(
            f"the input has shape {tuple(x.shape)}",
            expected=f"(N, T, {channels}) with one sequence and one step or more",
        )
    if not x.is_floating_point():
        raise DataError(f"the input is of {x.dtype}", expected="floating point: x.float()")
    batch, steps, _ = x.shape
    for name, tensor, shape in (
        ("force", force, (batch, steps)),
        ("sample", sample, tuple(x.shape)),
        ("length", length, (batch,)),
    ):
        if tensor is not None and (found := _shape(tensor)) != shape:
            raise DataError(
                f"`{name}` has shape {found}",
                expected=f"{shape} for an input of shape {tuple(x.shape)}",
            )


def check_values(
    steps: int,
    *,
    force: Tensor | None = None,
    length: Tensor | None = None,
    position: Tensor | None = None,
    before: Tensor | None = None,
) -> None:
    """Checks values, but not on a GPU, where that would wait for the device, nor in compiled code.

    Args:
        steps: T.
        force: shares in [0, 1].
        length: 1 to T.
        position: ascending, (T,).
        before: the position of the step before, (1,).
    Raises:
        DataError: if one is wrong; the error names it.
    """
    if position is not None and tuple(position.shape) != (steps,):
        raise DataError(
            f"`position` has shape {tuple(position.shape)}",
            expected=f"({steps},), one place a step",
        )
    if _readable(force) and not bool(((force >= 0) & (force <= 1)).all()):
        raise DataError("`force` is not a share of the truth", expected="values from 0 to 1")
    if length is not None and (length.is_floating_point() or length.dtype == torch.bool):
        raise DataError(f"`length` is of {length.dtype}", expected="whole numbers of steps")
    if _readable(length) and not bool(((length >= 1) & (length <= steps)).all()):
        raise DataError(
            f"`length` lies from {int(length.min())} to {int(length.max())}",
            expected=f"1 to {steps}, the steps of the input",
        )
    if _readable(position):
        places = position if before is None else torch.cat([before.to(position), position])
        if not bool((places[1:] > places[:-1]).all() and position.isfinite().all()):
            raise DataError("`position` does not rise from step to step", expected="rising places")


def _shape(tensor: object) -> tuple[int, ...] | str:
    return tuple(tensor.shape) if isinstance(tensor, Tensor) else f"none: it is {tensor!r}"


def _readable(tensor: Tensor | None) -> TypeGuard[Tensor]:
    here = tensor is not None and tensor.device.type == "cpu"
    return here and not torch.compiler.is_compiling()
