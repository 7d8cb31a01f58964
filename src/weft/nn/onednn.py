"""Checks what oneDNN supports, and has torch compute exact float32 products with it, not MKL."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.flop_counter import register_flop_formula

_PRESENT = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")

_HAS_BF16 = _PRESENT and torch.ops.mkldnn._is_mkldnn_bf16_supported()

_SET = getattr(torch._C, "_set_fp32_precision_setter", None)
_GET = getattr(torch._C, "_get_fp32_precision_getter", None)
_WHERE = ("mkldnn", "matmul")

if _PRESENT:

    @register_flop_formula(torch.ops.mkldnn._linear_pointwise)
    def _product_flops(x: torch.Size, weight: torch.Size, *more: Any, **_: Any) -> int:
        """FLOPs as counted by `weft train --dry-run` and the benchmarks."""
        onto = bool(more) and isinstance(more[0], torch.Size) and len(more[0]) == 2
        return 2 * x[0] * x[1] * (more[0] if onto else weight)[0]


def has_onednn(x: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Whether oneDNN's products can be called directly in `dtype` on the device of x.

    Its bf16 kernels need AVX-512 or better, and fail elsewhere.
    """
    here = _PRESENT and x.device.type == "cpu" and not torch.compiler.is_compiling()
    return here and (dtype == torch.float32 or (dtype == torch.bfloat16 and _HAS_BF16))


def has_full_rate(x: Tensor) -> bool:
    """Whether `mm` and `bmm` are faster than torch's and equally exact for operands like x."""
    here = x.dtype == torch.float32 and has_onednn(x) and not torch.is_autocast_enabled("cpu")
    return here and _keeps_digits()


def mm(x: Tensor, y: Tensor) -> Tensor:
    """x y without gradient and without copies, if `has_full_rate`; operands may have any strides.

    Args:
        x: (R, I).
        y: (I, O).
    Returns: (R, O).
    """
    return _allowed(torch.mm, x, y)


def bmm(x: Tensor, y: Tensor) -> Tensor:
    """x_n y_n without gradient, if `has_full_rate`.

    On AMD, MKL takes twice as long: 0.59 ms against 0.29 for 8 products of 326 x 32 x 326, and
    0.60 against 0.25 for 326 x 326 x 32 (one thread of an EPYC with AVX-512).

    Args:
        x: (N, R, I), any strides.
        y: (N, I, O), any strides.
    Returns: (N, R, O).
    """
    return _allowed(torch.bmm, x, y)


def precision() -> str | None:
    """The precision that torch allows for float32 products on the CPU; None if not settable."""
    return None if _GET is None else _GET(*_WHERE)


def at_precision(given: str | None, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """`call(*args, **options)` with the allowed precision `given`; None: the current one."""
    if given is None or _SET is None:
        return call(*args, **options)
    before = precision()
    _SET(*_WHERE, given)
    try:
        return call(*args, **options)
    finally:
        _SET(*_WHERE, before)


def _allowed(call: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The product with bf16 allowed. Torch then passes float32 products to oneDNN, which computes
    them in float32 all the same (`_keeps_digits`). The user's setting holds for other products."""
    out: Tensor = at_precision("bf16", call, x, y)
    return out


@cache
def _keeps_digits() -> bool:
    """Whether float32 products stay exact when lower precision is allowed.

    oneDNN uses lower precision only on cores with matrix tiles (AMX). As this is not documented, it
    is tested: numbers that bf16 and tf32 cannot represent are multiplied by 1. Older versions of
    torch, and CPUs without AVX-512, lack this path.
    """
    tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    if _SET is None or _GET is None or tiles() or not has_onednn(torch.empty(0), torch.bfloat16):
        return False
    # These products are not counted or recorded as operations of a step.
    with _disable_current_modes():
        return all(_is_exact(size) for size in (32, 320))


def _is_exact(size: int) -> bool:
    fine = 1 + torch.arange(1.0, size + 1).expand(2, size, -1).contiguous() * 2**-20
    one = torch.eye(size).expand(2, -1, -1).contiguous()
    pairs = ((fine, one), (one, fine), (fine.mT, one), (one, fine.mT))
    return all(
        torch.equal(bmm(x, y), x @ y) and torch.equal(mm(x[0], y[0]), x[0] @ y[0]) for x, y in pairs
    )
