"""The loss of a batch: errors of the groups or of the picture, and the KL term."""

# B batch, N splats, L latents, H x W pixels

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from weft.families.gaussvae.options.sections import GroupWeights
from weft.families.gaussvae.splats.quality import ssim
from weft.families.gaussvae.terms.groups import Groups, errors, factors


@dataclass(frozen=True)
class Reconstruction:
    """The reconstruction error of a prediction.

    Attributes:
        loss: the training loss: of groups, pictures, or both.
        groups: mean squared error of z-scores for each group of columns.
        total: weighted sum of the groups.
    """

    loss: Tensor
    groups: dict[str, Tensor]
    total: Tensor


def weighted(kind: str, weights: GroupWeights, groups: Groups) -> dict[str, float]:
    """The weight of each group's error."""
    return {name: f * getattr(weights, name) for name, f in factors(kind, groups).items()}


def reconstruction(
    found: Tensor,
    wanted: Tensor,
    groups: Groups,
    weights: dict[str, float],
    share: float = 0.0,
    picture: Callable[[], Tensor] | None = None,
) -> Reconstruction:
    """(1 - share) sum of weighted group errors + share x the picture's error.

    Args:
        found, wanted: z-scores (B, N, 8).
        groups: columns of each group.
        weights: of each group.
        share: of the picture's error, 0 to 1.
        picture: computes that error; called only if `share` is above 0.
    """
    each = errors(found, wanted, groups)
    total = sum((weights[name] * error for name, error in each.items()), found.new_zeros(()))
    if share == 0 or picture is None:
        return Reconstruction(total, each, total)
    drawn = picture()
    loss = drawn if share == 1 else (1 - share) * total + share * drawn
    return Reconstruction(loss, each, total)


def picture_error(found: Tensor, wanted: Tensor, gain: float, dissimilarity: float) -> Tensor:
    """gain x (mean squared error + dissimilarity x (1 - SSIM)) of pictures (B, 3, H, W)."""
    error = (found - wanted).square().mean()
    if dissimilarity:
        error = error + dissimilarity * (1 - ssim(found, wanted).mean())
    return gain * error
