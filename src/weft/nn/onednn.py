"""What oneDNN can do here; and torch's own products by it, in full float32, in place of MKL's."""

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
    """Whether `mm` and `bmm` are faster than torch's for operands such as x, and as exact."""
    here = x.dtype == torch.float32 and has_onednn(x) and not torch.is_autocast_enabled("cpu")
    return here and _keeps_digits()


def mm(x: Tensor, y: Tensor) -> Tensor:
    """x y without gradient, where `has_full_rate`; any strides, and none is copied.

    Args:
        x: (R, I).
        y: (I, O).
    Returns: (R, O).
    """
    return _allowed(torch.mm, x, y)


def bmm(x: Tensor, y: Tensor) -> Tensor:
    """x_n y_n without gradient, where `has_full_rate`.

    MKL takes an AMD core twice as long: 8 products 326 x 32 x 326 0.59 against 0.29 ms, the other
    way round 0.60 against 0.25 (one thread of an EPYC with AVX-512).

    Args:
        x: (N, R, I), any strides.
        y: (N, I, O), any strides.
    Returns: (N, R, O).
    """
    return _allowed(torch.bmm, x, y)


def leave() -> str | None:
    """How inexact float32 products of a CPU may be now; None where torch cannot tell."""
    return None if _GET is None else _GET(*_WHERE)


def under(given: str | None, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a call returns, with leave to be as inexact as `given`; None: as it is."""
    if given is None or _SET is None:
        return call(*args, **options)
    before = leave()
    _SET(*_WHERE, given)
    try:
        return call(*args, **options)
    finally:
        _SET(*_WHERE, before)


def _allowed(call: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """The call with leave to compute in bf16: with it torch gives float32 products to oneDNN, which
    makes no use of it (`_keeps_digits`). What a user has set stays for all other products."""
    out: Tensor = under("bf16", call, x, y)
    return out


@cache
def _keeps_digits() -> bool:
    """Whether float32 products with leave to be less exact are exact all the same.

    oneDNN takes the leave on cores with matrix tiles (AMX) alone. Nothing promises it, so numbers
    that bf16 and tf32 cannot hold are multiplied by 1 and looked at. Older versions of torch, and
    CPUs without AVX-512, do not know the way.
    """
    tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    if _SET is None or _GET is None or tiles() or not has_onednn(torch.empty(0), torch.bfloat16):
        return False
    # Whoever counts or records the operations of a step counts none of these.
    with _disable_current_modes():
        return all(_is_exact(size) for size in (32, 320))


def _is_exact(size: int) -> bool:
    fine = 1 + torch.arange(1.0, size + 1).expand(2, size, -1).contiguous() * 2**-20
    one = torch.eye(size).expand(2, -1, -1).contiguous()
    pairs = ((fine, one), (one, fine), (fine.mT, one), (one, fine.mT))
    return all(
        torch.equal(bmm(x, y), x @ y) and torch.equal(mm(x[0], y[0]), x[0] @ y[0]) for x, y in pairs
    )
