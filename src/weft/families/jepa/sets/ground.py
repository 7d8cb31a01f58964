"""Exchanges the fixed background (ground) of first frames with that of another sequence."""

# B batch, T frames, C channels, S pixels along a side

from __future__ import annotations

import torch
from torch import Tensor


def on_other_ground(image: Tensor, frames: int, share: float) -> Tensor:
    """The first frames of sequences, some of them with the ground of another sequence.

    The ground of a sequence is the minimum of each pixel over time. It contains a fixed background
    completely, and a moving dot not at all, whereas a mean or a median would have a trail of the
    dot, which reveals its future path. If no background is fixed, even the minimum would reveal
    future noise; frames are then not changed.

    Args:
        image: (B, T, C, S, S).
        frames: number of first frames.
        share: share of the sequences that get the ground of the previous sequence in the batch.
    Returns: (B, frames, C, S, S).
    """
    ground = image.amin(1, keepdim=True)
    swapped = round(share * len(image))
    other = torch.cat((ground.roll(1, 0)[:swapped], ground[swapped:]))
    return image[:, :frames] + stays(image) * (other - ground)


def stays(image: Tensor) -> Tensor:
    """Whether sequences (B, T, C, S, S) have fixed backgrounds, a bool scalar.

    They have if the means of the first and of the last third of the frames, minus their means over
    sequences, have a correlation above one half.
    """
    third = -(-image.shape[1] // 3)
    early, late = image[:, :third].mean(1), image[:, -third:].mean(1)
    early, late = early - early.mean(0), late - late.mean(0)
    return (early * late).sum() > 0.5 * (early.square().sum() * late.square().sum()).sqrt()
