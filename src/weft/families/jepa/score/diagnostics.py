"""Statistics of a batch of codes: spread, redundancy, and the share that is constant in time."""

# T frames, B batch, D code

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.families.jepa.terms.spread import var_ratio

STEPS = (0, 1, 3, 7, 15)
"""Frames with statistics of their own, as published."""


def diagnose(codes: Mapping[str, Tensor], *, each_step: bool) -> dict[str, Tensor]:
    """Scalars of several kinds of code, named `quantity/kind`.

    Args:
        codes: kind -> codes (T, B, D), such as `e` of the encoder and `h` of the forward model.
        each_step: whether frames 0, 1, 3, 7 and 15 also get statistics of their own
            (`quantity/kind_7`), raw and scaled to length 1 (`quantity/kind_unit_7`).
    Returns: those of `describe` over all frames, and `static`, the share of variance that is
        constant in a sequence: 1 for codes that represent the background and not the dot.
    """
    scalars: dict[str, Tensor] = {}
    with torch.no_grad():
        for kind, z in codes.items():
            z = z.detach().float()
            scalars |= {
                f"{name}/{kind}": value for name, value in describe(z.flatten(0, 1)).items()
            }
            scalars[f"static/{kind}"] = var_ratio(z)
            if each_step:
                scalars |= _steps(kind, z)
                scalars |= _steps(f"{kind}_unit", F.normalize(z, dim=-1))
    return scalars


def describe(z: Tensor) -> dict[str, Tensor]:
    """Scalars of codes (N, D), N >= 2.

    Returns:
        std: mean over entries of the standard deviation.
        std_gap: largest minus smallest of those deviations.
        cov: sum of squared covariances between different entries, over D.
        corr: root mean squared correlation between different entries.
        cosine: mean cosine between different codes.
        norm: mean length.
    """
    rows, width = z.shape
    centred = z - z.mean(0)
    std = centred.square().sum(0).div(rows - 1).sqrt()
    unit = F.normalize(z, dim=-1)
    return {
        "std": std.mean(),
        "std_gap": std.max() - std.min(),
        "cov": _off_diagonal(centred) / (rows - 1) ** 2 / width,
        "corr": (_off_diagonal(F.normalize(centred, dim=0)) / max(1, width * (width - 1))).sqrt(),
        # The sum over all pairs minus the N pairs of a code with itself.
        "cosine": (unit.sum(0).square().sum() - rows) / (rows * (rows - 1)),
        "norm": z.norm(dim=-1).mean(),
    }


def _steps(kind: str, z: Tensor) -> dict[str, Tensor]:
    return {
        f"{name}/{kind}_{step}": value
        for step in STEPS
        if step < len(z)
        for name, value in describe(z[step]).items()
    }


def _off_diagonal(x: Tensor) -> Tensor:
    """Sum of squares of the off-diagonal entries of X^T X, by the smaller of X^T X and X X^T."""
    product = x @ x.mT if x.shape[0] < x.shape[1] else x.mT @ x
    return product.square().sum() - x.square().sum(0).square().sum()
