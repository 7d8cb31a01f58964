"""First frames before the ground of another sequence, where sequences have one of their own."""

# B batch, T frames, C channels, S pixels along a side

from __future__ import annotations

import torch
from torch import Tensor


def on_other_ground(image: Tensor, frames: int, share: float) -> Tensor:
    """The first frames of sequences, some of them before the ground of another sequence.

    A ground is the darkest each pixel gets: what stays is in it whole, and a dot that adds its
    light elsewhere in time is not. A mean or a median has a trail of the dot, which tells of its
    way to come. Where nothing stays even the darkest tells of the noise to come, and frames are
    left as they are.

    Args:
        image: (B, T, C, S, S).
        frames: how many.
        share: of the sequences that are given another ground, that of the one before in the batch.
    Returns: (B, frames, C, S, S).
    """
    ground = image.amin(1, keepdim=True)
    swapped = round(share * len(image))
    other = torch.cat((ground.roll(1, 0)[:swapped], ground[swapped:]))
    return image[:, :frames] + stays(image) * (other - ground)


def stays(image: Tensor) -> Tensor:
    """Whether sequences (B, T, C, S, S) have grounds that stay, a scalar.

    They do if the means of the first and of the last third of the frames, less their means over
    sequences, correlate by more than a half.
    """
    third = -(-image.shape[1] // 3)
    early, late = image[:, :third].mean(1), image[:, -third:].mean(1)
    early, late = early - early.mean(0), late - late.mean(0)
    return (early * late).sum() > 0.5 * (early.square().sum() * late.square().sum()).sqrt()
