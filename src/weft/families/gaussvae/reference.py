"""The renderer as its equations read, each pixel against each splat under autograd: the oracle."""

# M pictures, N splats, H x W pixels

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.gaussvae.splats.geometry import Ellipses, spans

EPSILON = 1e-4
"""Added to the sum of weights in normalised blending: what no splat reaches is black."""


def weights(shapes: Ellipses, height: int, width: int, cut: float | None = None) -> Tensor:
    """w_n(p) = exp(-d' Q d / 2), zero outside of the spans of `cut`; (..., N, H, W)."""
    x, y, a, b, c = (part[..., None, None] for part in shapes[:5])
    dx = torch.arange(width, dtype=x.dtype, device=x.device) - x
    dy = torch.arange(height, dtype=x.dtype, device=x.device)[:, None] - y
    found = torch.exp(-(a * dx * dx + 2 * b * dx * dy + c * dy * dy) / 2)
    if cut is None:
        return found
    first, last = (edge.unsqueeze(-1) for edge in spans(shapes, height, width, cut))
    columns = torch.arange(width, device=x.device)
    return found * ((columns >= first) & (columns < last))


def blend(
    shapes: Ellipses,
    height: int,
    width: int,
    *,
    normalised: bool = True,
    topk: int = 0,
    cut: float | None = None,
) -> Tensor:
    """I(p) = sum_n w_n c_n, divided by sum_n w_n + EPSILON if `normalised`.

    Args:
        shapes: (..., N) each.
        topk: only the so many largest weights of each pixel count; 0 for all.
        cut: reach of a splat in sigmas, see `geometry.spans`; None for all pixels.
    Returns: (..., 3, H, W).
    """
    w = weights(shapes, height, width, cut)
    if 0 < topk < w.shape[-3]:
        chosen = torch.zeros_like(w).scatter_(-3, w.topk(topk, dim=-3).indices, 1.0)
        w = w * chosen
    total = torch.einsum("...nhw,...nc->...chw", w, shapes.colour)
    return total / (w.sum(-3).unsqueeze(-3) + EPSILON) if normalised else total
