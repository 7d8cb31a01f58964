"""Counts the FLOPs of matrix products, convolutions and attention by torch's own formulas."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from weft.nn.counted import flop_registry


class Flops(TorchDispatchMode):
    """Counts the FLOPs of what runs inside the block, a multiply-add as two, in `total`.

    torch's FlopCounterMode counts the same, but imports torch's compiler, which takes half a
    second.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs the operation, decomposed into others where torch can, and counts it."""
        options = kwargs or {}
        if func is not torch.ops.prim.device.default:
            with self:
                parts = func.decompose(*args, **options)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **options)
        kind = func.overloadpacket
        formula: Any = flop_registry.get(kind)
        if formula is not None:
            self.total += int(formula(*args, **options, out_val=out))
        return out
