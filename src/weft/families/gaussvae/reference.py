"""The renderer written as its equations, each pixel with each splat: the reference of all forms."""

# M pictures, N splats, H x W pixels

from __future__ import annotations

import math

import torch
from torch import Tensor

from weft.families.gaussvae.splats.geometry import Ellipses, Frame, spans

EPSILON = 1e-4
"""Added to the sum of weights in normalised blending; pixels that no splat reaches are black."""


def weights(shapes: Ellipses, frame: Frame) -> Tensor:
    """w_n(p) = exp(-d' Q d / 2), zero where splat n does not reach; (..., N, H, W)."""
    x, y, a, b, c = (part[..., None, None] for part in shapes[:5])
    dx = torch.arange(frame.width, dtype=x.dtype, device=x.device) - x
    dy = torch.arange(frame.height, dtype=x.dtype, device=x.device)[:, None] - y
    found = torch.exp(-(a * dx * dx + 2 * b * dx * dy + c * dy * dy) / 2)
    if math.isinf(frame.cut):
        return found
    first, last = (edge.unsqueeze(-1) for edge in spans(shapes, frame))
    columns = torch.arange(frame.width, device=x.device)
    return found * ((columns >= first) & (columns < last))


def blend(shapes: Ellipses, frame: Frame) -> Tensor:
    """I(p) = sum_n w_n c_n, divided by sum_n w_n + EPSILON if normalised; (..., 3, H, W)."""
    w = weights(shapes, frame)
    if 0 < frame.topk < w.shape[-3]:
        chosen = torch.zeros_like(w).scatter_(-3, w.topk(frame.topk, dim=-3).indices, 1.0)
        w = w * chosen
    total = torch.einsum("...nhw,...nc->...chw", w, shapes.colour)
    return total / (w.sum(-3).unsqueeze(-3) + EPSILON) if frame.normalised else total
