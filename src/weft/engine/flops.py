"""Counts the operations of matrix products, convolutions and attention by torch's formulas."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

_ATEN = torch.ops.aten


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


def _attention_backward(_: Any, query: Any, key: Any, value: Any, *__: Any, **___: Any) -> int:
    """Two products for each of the forward pass; what is computed anew to save memory is not
    counted, as where attention is written out."""
    return 2 * _attention(query, key, value)


# torch has formulas for attention on GPUs alone.
_OWN = {
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


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
        formula: Any = _OWN.get(kind) or flop_registry.get(kind)
        if formula is not None:
            self.total += int(formula(*args, **options, out_val=out))
        return out
