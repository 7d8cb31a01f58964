"""Renders splats to pictures, by any form of the computation."""

# N splats, H x W pixels

from __future__ import annotations

import math

from torch import Tensor

from weft.errors import UsageError
from weft.families.gaussvae.forms.dispatch import rendered
from weft.families.gaussvae.splats.geometry import COLUMNS, LAYOUTS, SAMPLINGS, Frame
from weft.nn.precision import full_precision, widened

BLENDS = ("normalised", "sum")

CUT = 3.5
"""Reach of a splat in standard deviations, equal for fitting and decoding."""


def render(
    splats: Tensor,
    height: int,
    width: int,
    *,
    layout: str = "logcov",
    blend: str = "normalised",
    topk: int = 0,
    sampling: str = "centre",
    size: tuple[int, int] | None = None,
    cut: float = CUT,
    form: str = "auto",
) -> Tensor:
    """Pictures of splats, in float32 or float64 whatever autocast says; differentiable once.

    w_n(p) = exp(-d' Q_n d / 2), I(p) = sum_n w_n c_n / (sum_n w_n + 1e-4), or without the divisor
    for `blend="sum"`. Colours are not clamped. All forms give one picture up to rounding.

    Args:
        splats: (..., N, 8).
        height, width: H and W, pixels.
        layout: `logcov` (x, y, m, a, b, r, g, b) or `rs` (x, y, s1, s2, theta, r, g, b), see
            `geometry.ellipses`, which says what is clamped.
        blend: `normalised` or `sum`.
        topk: only this many of the largest weights of each pixel count; 0: all.
        sampling: `centre` puts x at pixel x W - 1/2, `corner`, as in files of Image-GS, at x W.
        size: (height, width) of the picture whose pixels are the unit of the splats' shapes; by
            default that of the result.
        cut: reach of a splat in sigmas, with rows rounded outwards to 8 pixels. With `math.inf` all
            splats reach all pixels, and the work grows from the splats' area to N H W.
        form: `auto`, the fastest one that is available and possible, or `dense`, `gemm`, `sdpa`,
            `native` (float32 on a CPU), `triton` (float32 on a GPU).

    Returns: (..., 3, H, W).

    Raises:
        UsageError: if an option is unknown or out of range, or `form` cannot do what is asked.
        MissingExtra: if `form` needs a package that is not installed.
    """
    _check_words(layout, blend, sampling)
    _check_splats(splats)
    high, wide = size or (height, width)
    if any(isinstance(each, float) for each in (height, width, high, wide)):
        raise UsageError(
            f"a picture of {height} x {width} pixels, size {size}", expected="whole numbers"
        )
    if min(height, width, high, wide) < 1 or topk < 0 or not cut > 0:
        raise UsageError(
            f"a picture of {height} x {width} pixels, size {size}, topk {topk}, cut {cut}",
            expected="at least one pixel, topk >= 0, cut > 0",
        )
    frame = Frame(
        layout=LAYOUTS.index(layout),
        height=height,
        width=width,
        high=high,
        wide=wide,
        shift=0.5 if sampling == "centre" else 0.0,
        cut=float(cut),
        normalised=blend == "normalised",
        # As many as there are is all.
        topk=topk if topk < splats.shape[-2] else 0,
    )
    with full_precision(splats.device):
        full = widened(splats)
        if splats.dim() == 3:
            return rendered(full, frame, form)
        flat = full.reshape(math.prod(splats.shape[:-2]), *splats.shape[-2:])
        return rendered(flat, frame, form).view(*splats.shape[:-2], 3, height, width)


def _check_words(layout: str, blend: str, sampling: str) -> None:
    """Raises: UsageError if one of them is unknown."""
    for name, value, known in (
        ("layout", layout, LAYOUTS),
        ("blend", blend, BLENDS),
        ("sampling", sampling, SAMPLINGS),
    ):
        if value not in known:
            raise UsageError(f"unknown {name} `{value}`", expected=f"one of {', '.join(known)}")


def _check_splats(splats: Tensor) -> None:
    """Raises: UsageError if they have another shape than (..., N, 8), or are no floats."""
    if splats.dim() < 2 or splats.shape[-1] != COLUMNS:
        raise UsageError(f"splats of shape {tuple(splats.shape)}", expected=f"(..., N, {COLUMNS})")
    if not splats.is_floating_point():
        raise UsageError(f"splats of {splats.dtype}", expected="floating point: splats.float()")
