"""Quantises splats to a number of bits, with a straight-through gradient."""

# N splats

from __future__ import annotations

import torch
from torch import Tensor

from weft.errors import UsageError

GROUPS = {
    "position": slice(0, 2),
    "scale": slice(2, 4),
    "rotation": slice(4, 5),
    "colour": slice(5, 8),
}
"""Columns that are quantised together, named as in layout `rs`."""

Bits = tuple[int, int, int, int]
"""Bits of a position, scale, rotation and colour number."""

LEAST_BITS, MOST_BITS = 4, 32


def quantised(splats: Tensor, bits: Bits) -> Tensor:
    """Each group of columns rounded to 2^bits values, evenly spaced over its range in a picture.

    round((p - least) / (largest - least) (2^bits - 1)), and back; the gradient is that of p.

    Args:
        splats: (M, N, 8).
        bits: of a position, scale, rotation and colour number.
    Returns: (M, N, 8).
    Raises:
        UsageError: if bits are not between 4 and 32.
    """
    if not all(LEAST_BITS <= each <= MOST_BITS for each in bits) or len(bits) != len(GROUPS):
        raise UsageError(
            f"bits {bits}", expected=f"4 numbers ({', '.join(GROUPS)}), each from 4 to 32"
        )
    parts = []
    for columns, each in zip(GROUPS.values(), bits, strict=True):
        part = splats[..., columns]
        # Steps of 32 bits are finer than float32 itself.
        exact = part.detach().double()
        low, high = (edge(dim=(-2, -1), keepdim=True) for edge in (exact.amin, exact.amax))
        step = ((high - low) / (2**each - 1)).clamp(min=torch.finfo(torch.float64).tiny)
        rounded = low + ((exact - low) / step).round() * step
        parts.append(part + (rounded.to(part.dtype) - part).detach())
    return torch.cat(parts, -1)


def bits_of(splats: int, bits: Bits) -> int:
    """Bits of N splats, without the ends of the ranges."""
    widths = (columns.stop - columns.start for columns in GROUPS.values())
    return splats * sum(width * each for width, each in zip(widths, bits, strict=True))
