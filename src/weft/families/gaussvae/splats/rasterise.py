"""Splats to pictures: one function over all forms of the computation."""

# N splats, H x W pixels

from __future__ import annotations

from torch import Tensor

from weft.errors import UsageError
from weft.families.gaussvae.forms.choose import blended
from weft.families.gaussvae.splats.geometry import ellipses
from weft.nn.precision import full_precision, widened

BLENDS = ("normalised", "sum")

CUT = 3.5
"""How far a splat reaches, in standard deviations. Fit and decode by the same."""


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
    cut: float | None = CUT,
    form: str = "auto",
) -> Tensor:
    """Pictures of splats, in float32 or float64 whatever autocast says; differentiable once.

    w_n(p) = exp(-d' Q_n d / 2), I(p) = sum_n w_n c_n / (sum_n w_n + 1e-4), or without the divisor
    for `blend="sum"`. Colours are not clamped. All forms give one picture up to rounding.

    Args:
        splats: (..., N, 8).
        height, width: H and W, pixels.
        layout: `logcov` (x, y, m, a, b, r, g, b) or `rs` (x, y, s1, s2, theta, r, g, b), see
            `geometry.ellipses`.
        blend: `normalised` or `sum`.
        topk: only the so many largest weights of each pixel count; 0 for all.
        sampling: `centre` puts x at pixel x W - 1/2, `corner`, as files of Image-GS, at x W.
        size: (height, width) of the picture whose pixels the splats' shapes are counted in; the
            rendered one by default.
        cut: reach of a splat in sigmas, rows rounded out to 8 pixels; None lets all splats reach
            all pixels, which the native form is no help with.
        form: `auto`, the fastest that is here, or `dense`, `gemm`, `sdpa`, `native`, `triton`.

    Returns: (..., 3, H, W).

    Raises:
        UsageError: if an option is unknown, a size not positive, or `form` cannot do what is asked.
    """
    if blend not in BLENDS:
        raise UsageError(f"unknown blend `{blend}`", expected=f"one of {', '.join(BLENDS)}")
    if min(height, width, *(size or ())) < 1:
        raise UsageError(
            f"a picture of {height} x {width} pixels, size {size}", expected="at least 1"
        )
    if topk < 0 or (cut is not None and cut <= 0):
        raise UsageError(f"topk {topk}, cut {cut}", expected="topk >= 0, cut above 0 or None")
    with full_precision(splats.device):
        wide = widened(splats)
        flat = wide.reshape(-1, *wide.shape[-2:])
        shapes = ellipses(flat, height, width, layout=layout, sampling=sampling, size=size)
        pictures = blended(
            shapes, height, width, normalised=blend == "normalised", topk=topk, cut=cut, form=form
        )
    return pictures.view(*splats.shape[:-2], 3, height, width)
