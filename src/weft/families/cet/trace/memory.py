"""What a layer keeps from batch to batch: buffers that get their shapes from the first batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

SLOWEST = 0.01
"""Weight of the newest batch in the running mean, once a hundred have been seen."""


class Memory(nn.Module):
    """Buffers that are empty at first and take the shapes of the checkpoint they are loaded from.

    Args:
        kinds: name -> dtype of a buffer, None for the default.
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
    """A slow mean of a layer's stored activity, one number for each input.

    Attributes:
        value: shape (1, ...); that of all batches while they are few, then it forgets slowly.
        batches: how many it has seen, shape (1,).
    """

    value: Tensor
    batches: Tensor

    def __init__(self) -> None:
        super().__init__(value=None, batches=torch.int64)

    def advance(self, stored: Tensor) -> Tensor:
        """Takes in a batch (R, ...), and gives the mean of those before, or its own if it is first.

        The present batch is no part of the mean that its errors meet, or that would be biased.
        """
        now = stored.mean(0, keepdim=True, dtype=torch.promote_types(stored.dtype, torch.float32))
        if self.value.numel() == 0:
            self.value = now.clone(memory_format=torch.contiguous_format)
            self.batches = torch.zeros(1, dtype=torch.int64, device=now.device)
        before = self.value.clone()
        # Written into, not replaced: a step that was recorded as a CUDA graph finds them again.
        self.batches.add_(1)
        rate = (1 / self.batches.to(now.dtype)).clamp(min=SLOWEST)
        self.value.add_(rate * (now - before))
        return before
