"""The shapes that a caller's tensors must have."""

from __future__ import annotations

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
    """Refuses sequences x that are not (N, T, channels), and companions that do not fit them.

    Args:
        x: T >= 1.
        channels: d.
        force: (N, T).
        sample: (N, T, d).
        length: (N,).
    Raises:
        DataError: saying which one is wrong.
    """
    if x.dim() != 3 or x.shape[1] == 0 or x.shape[2] != channels:
        raise DataError(
            f"the input has shape {tuple(x.shape)}",
            expected=f"(N, T, {channels}) with one step or more",
        )
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
