"""What autocast gave in less than float32, widened again."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(x: Tensor) -> Tensor:
    """x in float32 if it came out of autocast in less; the same tensor otherwise."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
