"""In and out of autocast: what came out of it in less than float32, and what must not enter it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def widened(x: Tensor) -> Tensor:
    """x in float32 if it came out of autocast in less; the same tensor otherwise."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Leaves autocast, for what would drift or lose digits in less than float32.

    Args:
        device: any, those that know no autocast (such as `meta`) included.
    """
    kind = device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)
