"""Counts the operations of matrix products, convolutions and attention by torch's formulas."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import weft.nn.counted  # noqa: F401  more formulas


class Flops(TorchDispatchMode):
    """What is computed within it, multiply-adds counted as two; `total` says how many so far.

    As torch's own FlopCounterMode, which follows modules besides, and has torch's compiler
    imported: half a second of a process that compiles nothing.
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
        """Carries the operation out, in parts where it is made of others."""
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
