"""Leaving autocast: tensors back to float32, and code that must not run in lower precision."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def widened(x: Tensor) -> Tensor:
    """x in float32 if its dtype is narrower; the same tensor otherwise."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Turns autocast off within the block, for code that needs float32.

    Args:
        device: any; those without autocast, such as `meta`, too.
    """
    kind = device.type
    # Entering torch's context takes 40 us, and usually autocast is off anyway.
    if not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)):
        return nullcontext()
    return torch.autocast(kind, enabled=False)
