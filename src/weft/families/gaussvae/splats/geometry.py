"""The two layouts of a splat's eight numbers, and the ellipses that they represent."""

# N splats, H x W pixels

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

LAYOUTS = ("logcov", "rs")
"""Columns x, y, then m, a, b (logarithm of the covariance) or s1, s2, theta (original), r, g, b."""

SAMPLINGS = ("centre", "corner")
"""Pixel i of a width W is sampled at i + 1/2, or at i, as in files of Image-GS."""

COLUMNS = 8
"""Numbers of a splat."""

STD_LEAST = 0.05
"""Smallest standard deviation of a `logcov` splat, the geometric mean of both axes, in pixels."""

RATIO_LOG_MOST = 4.0
"""Largest sqrt(a^2 + b^2), the logarithm of the long axis over the short one."""

BLOCK = 8
"""Rows of a cut splat reach out to multiples of so many pixels."""


class Frame(NamedTuple):
    """The settings of rendering.

    Attributes:
        layout: index in LAYOUTS.
        height, width: H and W, pixels.
        high, wide: size of the picture whose pixels are the unit of the splats' shapes.
        shift: 1/2 if a centre x is at pixel x W - 1/2, 0 if it is at x W.
        cut: reach of a splat in sigmas; may be infinite.
        normalised: whether the sum is divided by that of the weights.
        topk: only this many of the largest weights of each pixel count; 0: all.
    """

    layout: int
    height: int
    width: int
    high: int
    wide: int
    shift: float
    cut: float
    normalised: bool
    topk: int


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


def ellipses(splats: Tensor, frame: Frame) -> Ellipses:
    """The ellipses of splats (..., N, 8) in the pixels of a picture; differentiable.

    With r^2 = a^2 + b^2, `logcov` gives Q = e^-m [[cosh r - a sinh r / r, -b sinh r / r], [.,
    cosh r + a sinh r / r]] without angle or eigenvalues, which is smooth even for round splats. m
    is clamped to [log STD_LEAST^2, log max(high, wide)^2], and r to RATIO_LOG_MOST. `rs` rotates
    diag(s1^2, s2^2) by theta, from x towards y, and clamps nothing.
    """
    x, y, p, q, t, *_ = splats.unbind(-1)
    a, b, c = (
        _conic_of_logcov(p, q, t, max(frame.high, frame.wide))
        if LAYOUTS[frame.layout] == "logcov"
        else _conic_of_rs(p, q, t)
    )
    across, down = frame.width / frame.wide, frame.height / frame.high
    return Ellipses(
        x * frame.width - frame.shift,
        y * frame.height - frame.shift,
        a / across**2,
        b / (across * down),
        c / down**2,
        splats[..., 5:],
    )


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


def _conic_of_rs(s1: Tensor, s2: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    cos, sin = theta.cos(), theta.sin()
    one, two = s1 * s1, s2 * s2
    a, c = cos * cos * one + sin * sin * two, sin * sin * one + cos * cos * two
    return a, cos * sin * (one - two), c


def to_logcov(splats: Tensor) -> Tensor:
    """`rs` splats (..., N, 8) in the layout `logcov`; x, y and colours do not change.

    m = -log|s1| - log|s2|; a, b = delta cos 2 theta, delta sin 2 theta, delta = log|s2| - log|s1|.
    A scale of exactly zero, an infinite splat, becomes 1e-12.
    """
    x, y, s1, s2, theta, *colour = splats.unbind(-1)
    one, two = (s.abs().clamp_min(1e-12).log() for s in (s1, s2))
    a, b = (two - one) * (2 * theta).cos(), (two - one) * (2 * theta).sin()
    return torch.stack([x, y, -one - two, a, b, *colour], -1)


def to_rs(splats: Tensor) -> Tensor:
    """`logcov` splats (..., N, 8) in the layout `rs`, with s1 <= s2 and theta in [0, pi)."""
    x, y, m, a, b, *colour = splats.unbind(-1)
    r = torch.hypot(a, b)
    theta = torch.atan2(b, a) / 2
    theta = theta.where(theta >= 0, theta + math.pi)
    # Angles just below 0 would be rounded to pi itself.
    theta = theta.where(theta < math.pi, 0.0)
    s1, s2 = torch.exp(-(m + r) / 2), torch.exp(-(m - r) / 2)
    return torch.stack([x, y, s1, s2, theta, *colour], -1)


def enlarged(splats: Tensor, factor: float) -> Tensor:
    """`logcov` splats of a picture, for the same picture enlarged by `factor`."""
    return splats + 2 * math.log(factor) * splats.new_tensor([0, 0, 1, 0, 0, 0, 0, 0])


def spans(shapes: Ellipses, frame: Frame) -> tuple[Tensor, Tensor]:
    """The pixels of each row that a splat reaches: those within `cut`, rounded outwards to blocks.

    The exact ellipse would leave visible steps where only tails of splats reach; rounding costs
    nothing if pixels are processed eight at a time. A shape with NaN reaches all pixels.

    Returns: the first pixel, and the pixel after the last, (..., N, H) each, multiples of BLOCK or
        the border; they are equal if the splat does not reach the row.
    """
    x, y, a, b, c = (part.detach().unsqueeze(-1) for part in shapes[:5])
    dy = torch.arange(frame.height, dtype=x.dtype, device=x.device) - y
    inside = a * frame.cut**2 - (a * c - b * b) * dy * dy
    half = inside.clamp_min(0).sqrt()
    first = ((x + (-b * dy - half) / a) / BLOCK).floor() * BLOCK
    last = ((x + (-b * dy + half) / a) / BLOCK).floor() * BLOCK + BLOCK
    first = first.nan_to_num(0.0).clamp(0, frame.width)
    last = last.nan_to_num(frame.width).clamp(0, frame.width)
    return first.long(), torch.where(inside < 0, first, last).long()
