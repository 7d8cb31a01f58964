"""What to watch in a weight-space network: its size, its weights, the growth of its recurrence."""

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.warp import reference
from weft.families.warp.cell.drive import held_front
from weft.families.warp.cell.span import Span
from weft.families.warp.rnn import WeightSpaceRNN


def parameter_counts(rnn: WeightSpaceRNN) -> dict[str, int]:
    """Trainable numbers, by what they are for, summed over layers.

    Returns: `root` (D, free first weights count as that), `hypernet` (the network that makes first
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
    """max |theta| over sequences (and steps): a scalar tensor that grows when A is unstable."""
    return theta.detach().abs().max()


def spectral_radius(rnn: WeightSpaceRNN) -> float:
    """Largest modulus of an eigenvalue of A, over the layers.

    Weights grow like its power of the number of steps: over 18,000 steps, 1.001 makes them 6e7
    times as large, and 1.005 overflows fp32. A full A costs O(D^3).
    """
    radii = [layer.transition.spectral_radius() for layer in rnn.layers]
    return float(torch.tensor(radii, dtype=torch.float64).max())  # NaN if one is


def radius_is_cheap(rnn: WeightSpaceRNN) -> bool:
    """Whether `spectral_radius` costs little beside an evaluation, in all layers."""
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
