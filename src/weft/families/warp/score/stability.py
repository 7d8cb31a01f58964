"""Diagnostics of a weight-space network: its size, weights, and growth of its recurrence."""

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.warp import reference
from weft.families.warp.cell.drive import held_front
from weft.families.warp.cell.span import Span
from weft.families.warp.rnn import WeightSpaceRNN


def parameter_counts(rnn: WeightSpaceRNN) -> dict[str, int]:
    """Numbers of trainable parameters by their purpose, summed over layers.

    Returns: `root` (D, for learnt initial weights), `hypernet` (the network that computes initial
        weights, or 0), `transition` (A and B), `other` (head and convolutions), `total`.
    """
    count = {"root": 0, "hypernet": 0, "transition": 0}
    for layer in rnn.layers:
        root = layer.root
        count["root"] += (root.C.numel() + root.mean.numel()) if isinstance(root, Span) else 0
        count["root"] += root.size
        if not layer.initial.shared:
            count["hypernet"] += sum(p.numel() for p in layer.initial.parameters())
        count["transition"] += sum(p.numel() for p in layer.transition.parameters())
        count["transition"] += layer.B.numel()
    total = sum(p.numel() for p in rnn.parameters())
    in_layers = sum(p.numel() for layer in rnn.layers for p in layer.parameters())
    return {**count, "other": total - in_layers, "total": total}


def largest_weight(theta: Tensor) -> Tensor:
    """max |theta| over sequences (and steps), a scalar tensor; it grows if A is unstable."""
    return theta.detach().abs().max()


def spectral_radius(rnn: WeightSpaceRNN) -> float:
    """Largest modulus of an eigenvalue of A, over the layers.

    Weights grow as this radius to the power of the number of steps: over 18,000 steps a radius of
    1.001 is a factor of 6e7, and 1.005 overflows fp32. For a full A the cost is O(D^3).
    """
    radii = [layer.transition.spectral_radius() for layer in rnn.layers]
    return float(torch.tensor(radii, dtype=torch.float64).max())  # NaN if one is


def radius_is_cheap(rnn: WeightSpaceRNN) -> bool:
    """Whether `spectral_radius` of all layers is cheap compared with an evaluation."""
    return all(layer.transition.radius_is_cheap for layer in rnn.layers)


@torch.no_grad()
def trajectory(
    rnn: WeightSpaceRNN,
    x: Tensor,
    *,
    force: Tensor | None = None,
    length: Tensor | None = None,
) -> list[Tensor]:
    """Each layer's weights after each step, (N, T, D) each, by the loop and without noise.

    Args:
        rnn: the network.
        x, force, length: as in its `forward`.
    """
    rnn.check(x, force, None, length)
    x = held_front(x, length)
    ticks = rnn.ticks(x, feedback=force is not None)
    if force is not None:
        return reference.autoregress(
            rnn.layers, rnn.head, x, force, ticks, length=length, keep_states=True
        ).states
    x = x if rnn.embedding is None else rnn.embedding(x)
    return reference.free(rnn.layers, x, ticks, length=length, keep_states=True).states
