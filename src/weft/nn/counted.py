"""torch's registry of FLOP formulas, with those of fused attention on a CPU, which it lacks."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, register_flop_formula, sdpa_flop_count

__all__ = ["flop_registry"]

_ATEN = torch.ops.aten


@register_flop_formula(_ATEN._scaled_dot_product_flash_attention_for_cpu)
def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))


@register_flop_formula(_ATEN._scaled_dot_product_flash_attention_for_cpu_backward)
def _attention_backward(_: Any, query: Any, key: Any, value: Any, *__: Any, **___: Any) -> int:
    """Two products for each one of the forward pass.

    Values that the kernel computes again to save memory are not counted, as in unfused attention.
    """
    return 2 * int(sdpa_flop_count(query, key, value))
