"""State of a layer that is kept from batch to batch, in buffers shaped by the first batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

SLOWEST = 0.01
"""Smallest weight of the newest batch in the running mean, reached after a hundred batches."""


class Memory(nn.Module):
    """Buffers that are empty at first, and take the shapes of a checkpoint they are loaded from.

    Args:
        kinds: buffer name -> dtype; None is the default dtype.
    """

    def __init__(self, **kinds: torch.dtype | None) -> None:
        super().__init__()
        for name, kind in kinds.items():
            self.register_buffer(name, torch.empty(0, dtype=kind))

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **options: Any
    ) -> None:
        for name, buffer in list(self.named_buffers(recurse=False)):
            saved = state_dict.get(prefix + name)
            if saved is not None:
                setattr(self, name, torch.empty_like(saved, device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *args, **options)


class RunningMean(Memory):
    """Running mean of a layer's stored activity, one number for each input.

    Attributes:
        value: shape (1, ...); the mean of all batches up to 1 / SLOWEST of them, then an
            exponential moving average.
        batches: number of batches seen, int64 (1,).
    """

    value: Tensor
    batches: Tensor

    def __init__(self) -> None:
        super().__init__(value=None, batches=torch.int64)

    def advance(self, stored: Tensor) -> Tensor:
        """Adds a batch (R, ...), and returns the mean of the batches before it, shape (1, ...).

        For the first batch the mean is its own. Later batches are not part of the mean that is
        subtracted from them, which would be biased.
        """
        now = stored.mean(0, keepdim=True, dtype=torch.promote_types(stored.dtype, torch.float32))
        if self.value.numel() == 0:
            self.value = now.clone(memory_format=torch.contiguous_format)
            self.batches = torch.zeros(1, dtype=torch.int64, device=now.device)
        before = self.value.clone()
        # In place, because a step captured as a CUDA graph keeps using the same buffers.
        self.batches.add_(1)
        rate = (1 / self.batches.to(now.dtype)).clamp(min=SLOWEST)
        self.value.add_(rate * (now - before))
        return before
