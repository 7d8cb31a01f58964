"""What a caller's tensors must be: their shapes, and the values that have a meaning."""

from __future__ import annotations

from numbers import Integral
from typing import TypeGuard

import torch
from torch import Tensor

from weft.errors import ConfigError, DataError


def check_shapes(
    x: Tensor,
    channels: int,
    *,
    force: Tensor | None = None,
    sample: Tensor | None = None,
    length: Tensor | None = None,
) -> None:
    """Refuses sequences x that are not (N, T, channels), and companions that do not fit them.

    Args:
        x: of floating point, N >= 1, T >= 1.
        channels: d.
        force: (N, T).
        sample: (N, T, d).
        length: whole numbers, (N,).
    Raises:
        DataError: saying which one is wrong.
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
        if tensor is not None and tuple(tensor.shape) != shape:
            raise DataError(
                f"`{name}` has shape {tuple(tensor.shape)}",
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
    """Refuses values without a meaning. Those that lie on a GPU, where asking would stall, and
    those of a graph that is being compiled are taken as they are.

    Args:
        steps: T.
        force: shares in [0, 1].
        length: 1 to T.
        position: rising, (T,).
        before: the position of the step before, (1,).
    Raises:
        DataError: saying which one is wrong.
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


def _readable(tensor: Tensor | None) -> TypeGuard[Tensor]:
    here = tensor is not None and tensor.device.type == "cpu"
    return here and not torch.compiler.is_compiling()


def check_sizes(least: int = 1, **sizes: int | None) -> None:
    """Refuses sizes that are none; None is a size that is not given.

    Raises:
        ConfigError: if one is no whole number, or below `least`.
    """
    for name, size in sizes.items():
        if size is not None and not (isinstance(size, Integral) and size >= least):
            raise ConfigError(
                f"`{name}` is {size!r}", where=name, expected=f"a whole number, {least} or more"
            )
