"""Where splats lie: the two layouts of their eight numbers, and the ellipses these stand for."""

# N splats, H x W pixels

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from weft.errors import UsageError

LAYOUTS = ("logcov", "rs")
"""Columns x, y, then m, a, b (logarithm of the covariance) or s1, s2, theta (original), r, g, b."""

SAMPLINGS = ("centre", "corner")
"""Pixel i lies at i + 1/2 of a width W, or at i, as in files of Image-GS."""

COLUMNS = 8

STD_LEAST = 0.05
"""Least standard deviation of a `logcov` splat, geometric mean of both axes, in pixels."""

RATIO_LOG_MOST = 4.0
"""Most of sqrt(a^2 + b^2), the logarithm of the long axis over the short one."""

BLOCK = 8
"""Rows of a cut splat reach out to multiples of so many pixels."""


class Ellipses(NamedTuple):
    """Splats in the pixels of one picture: w(p) = exp(-(A dx^2 + 2 B dx dy + C dy^2) / 2).

    Attributes:
        x, y: centres as indices of pixels, d = pixel - centre; (..., N).
        a, b, c: the conic [[A, B], [B, C]], inverse of the covariance, per pixel^2; (..., N).
        colour: r, g, b; (..., N, 3).
    """

    x: Tensor
    y: Tensor
    a: Tensor
    b: Tensor
    c: Tensor
    colour: Tensor


def ellipses(
    splats: Tensor,
    height: int,
    width: int,
    *,
    layout: str = "logcov",
    sampling: str = "centre",
    size: tuple[int, int] | None = None,
) -> Ellipses:
    """The splats as they lie in a picture of `height` x `width` pixels; differentiable.

    With r^2 = a^2 + b^2, `logcov` gives Q = e^-m [[cosh r - a sinh r / r, -b sinh r / r], [.,
    cosh r + a sinh r / r]] without angle or eigenvalues: smooth, the round splat included. m is
    held in [log STD_LEAST^2, log max(size)^2], r below RATIO_LOG_MOST. `rs` turns diag(s1^2, s2^2)
    by theta, from x towards y, and clamps nothing.

    Args:
        splats: (..., N, 8) in `layout`; centres in units of the picture's width and height, shapes
            in pixels of a picture of `size`.
        layout: `logcov` or `rs`.
        sampling: `centre` puts x at pixel x W - 1/2, `corner` at x W.
        size: (height, width) whose pixels the shapes are counted in; the rendered one by default.

    Raises:
        UsageError: if `layout` or `sampling` is unknown, or a splat has not eight numbers.
    """
    _check(splats, layout, sampling)
    x, y, p, q, t, *_ = splats.unbind(-1)
    high, wide = size or (height, width)
    a, b, c = _conic_of_logcov(p, q, t, max(high, wide)) if layout == "logcov" else _turned(p, q, t)
    across, down = width / wide, height / high
    shift = 0.5 if sampling == "centre" else 0.0
    return Ellipses(
        x * width - shift,
        y * height - shift,
        a / across**2,
        b / (across * down),
        c / down**2,
        splats[..., 5:],
    )


def _check(splats: Tensor, layout: str, sampling: str) -> None:
    for name, value, known in (("layout", layout, LAYOUTS), ("sampling", sampling, SAMPLINGS)):
        if value not in known:
            raise UsageError(f"unknown {name} `{value}`", expected=f"one of {', '.join(known)}")
    if splats.dim() < 2 or splats.shape[-1] != COLUMNS:
        raise UsageError(f"splats of shape {tuple(splats.shape)}", expected=f"(..., N, {COLUMNS})")


def _conic_of_logcov(m: Tensor, a: Tensor, b: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    m = m.clamp(2 * math.log(STD_LEAST), 2 * math.log(side))
    square = a * a + b * b
    shrink = RATIO_LOG_MOST * square.clamp_min(RATIO_LOG_MOST**2).rsqrt()
    a, b, square = a * shrink, b * shrink, square * shrink * shrink
    cosh, sinhc = _cosh_sinhc(square)
    scale = torch.exp(-m)
    return scale * (cosh - sinhc * a), -scale * sinhc * b, scale * (cosh + sinhc * a)


def _cosh_sinhc(square: Tensor) -> tuple[Tensor, Tensor]:
    """cosh r and sinh r / r from r^2, by their series near 0, where the derivatives cancel."""
    small = square < 1 / 16
    near = square.where(small, 0.0)
    r = square.where(~small, 1.0).sqrt()
    cosh = 1 + near / 2 * (1 + near / 12 * (1 + near / 30 * (1 + near / 56 * (1 + near / 90))))
    sinhc = 1 + near / 6 * (1 + near / 20 * (1 + near / 42 * (1 + near / 72 * (1 + near / 110))))
    return torch.where(small, cosh, r.cosh()), torch.where(small, sinhc, r.sinh() / r)


def _turned(s1: Tensor, s2: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    cos, sin = theta.cos(), theta.sin()
    one, two = s1 * s1, s2 * s2
    a, c = cos * cos * one + sin * sin * two, sin * sin * one + cos * cos * two
    return a, cos * sin * (one - two), c


def to_logcov(splats: Tensor) -> Tensor:
    """`rs` splats (..., N, 8) in the layout `logcov`; x, y and colours stay.

    m = -log|s1| - log|s2|; a, b = delta cos 2 theta, delta sin 2 theta, delta = log|s2| - log|s1|.
    A scale of exactly zero, a splat without end, becomes 1e-12.
    """
    _check(splats, "rs", "centre")
    x, y, s1, s2, theta, *colour = splats.unbind(-1)
    one, two = (s.abs().clamp_min(1e-12).log() for s in (s1, s2))
    a, b = (two - one) * (2 * theta).cos(), (two - one) * (2 * theta).sin()
    return torch.stack([x, y, -one - two, a, b, *colour], -1)


def to_rs(splats: Tensor) -> Tensor:
    """`logcov` splats (..., N, 8) in the layout `rs`, with s1 <= s2 and theta in [0, pi)."""
    _check(splats, "logcov", "centre")
    x, y, m, a, b, *colour = splats.unbind(-1)
    r = torch.hypot(a, b)
    theta = torch.atan2(b, a) / 2
    theta = theta.where(theta >= 0, theta + math.pi).where(theta < math.pi, 0.0)
    s1, s2 = torch.exp(-(m + r) / 2), torch.exp(-(m - r) / 2)
    return torch.stack([x, y, s1, s2, theta, *colour], -1)


def enlarged(splats: Tensor, factor: float) -> Tensor:
    """`logcov` splats of a picture, as those of the same picture `factor` times as large."""
    _check(splats, "logcov", "centre")
    return splats + 2 * math.log(factor) * splats.new_tensor([0, 0, 1, 0, 0, 0, 0, 0])


def spans(shapes: Ellipses, height: int, width: int, cut: float) -> tuple[Tensor, Tensor]:
    """Which pixels of each row a splat reaches: those within `cut` sigma, rounded out to blocks.

    The exact ellipse would leave steps in pictures that only tails reach; rounding out costs
    nothing where pixels are taken eight at a time.

    Args:
        cut: in standard deviations along any direction, sqrt(d' Q d).
    Returns: first pixel and first pixel behind, (..., N, H) each, multiples of BLOCK or the border;
        equal where the splat does not reach the row.
    """
    x, y, a, b, c = (part.detach().unsqueeze(-1) for part in shapes[:5])
    dy = torch.arange(height, dtype=x.dtype, device=x.device) - y
    inside = a * cut * cut - (a * c - b * b) * dy * dy
    half = inside.clamp_min(0).sqrt()
    first = ((x + (-b * dy - half) / a) / BLOCK).floor() * BLOCK
    last = ((x + (-b * dy + half) / a) / BLOCK).floor() * BLOCK + BLOCK
    first, last = first.clamp(0, width), last.clamp(0, width)
    return first.long(), torch.where(inside >= 0, last, first).long()
