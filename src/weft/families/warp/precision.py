"""Keeps the recurrence in the precision of its parameters under autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Leaves autocast: rounded at every step, weights would drift from those of a single product.

    Args:
        device: any, those that know no autocast (such as `meta`) included.
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
