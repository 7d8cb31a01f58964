"""The loss of a batch: a weighted sum of terms of one rollout, in float32."""

# T frames, B batch

from __future__ import annotations

import torch
from torch import Tensor

from weft.data.source import Batch
from weft.families.jepa.config import Config
from weft.families.jepa.model import Model
from weft.families.jepa.terms.registry import TERMS, Setting, weights_of
from weft.families.jepa.terms.rollout import Rollout
from weft.nn.precision import full_precision


def time_first(batch: Batch, first: int = 0) -> Batch:
    """The batch with dimensions 0 and 1 swapped, (B, T, …) to (T, B, …), from frame `first` on."""
    return {name: tensor.transpose(0, 1)[first:] for name, tensor in batch.items()}


def weighted_sum(
    rollout: Rollout, batch: Batch, config: Config, generator: torch.Generator | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The objective of a rollout.

    Args:
        rollout: the model's output for the batch.
        batch: time first, from the rollout's first frame on.
        config: the run's config.
        generator: for terms with random numbers, such as sigreg's directions; None on the meta
            device.
    Returns:
        The scalar loss, and each term before weighting as `loss_<term>`.
    """
    with full_precision(rollout.e.device):
        weights, at = weights_of(config), Setting(batch, config, generator)
        terms = {name: TERMS[name](rollout, at) for name in weights}
        total = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
    return total, {f"loss_{name}": value.detach() for name, value in terms.items()}


def loss(
    model: Model, batch: Batch, config: Config, generator: torch.Generator | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The objective of a batch.

    Args:
        model: made by `build_model`, in training mode.
        batch: `image` (B, T, C, S, S), `action` (B, T - 1, 2), `location` (B, T, K, 2).
        config: the run's config.
        generator: of everything random in the step.
    Returns:
        The scalar loss, and each term before weighting as `loss_<term>`. `random` trains nothing:
        its loss and its gradient are 0, and no running statistics are updated.
    """
    if not weights_of(config):
        return 0 * next(model.parameters()).sum(), {}
    rollout: Rollout = model(batch["image"], batch["action"], generator)
    return weighted_sum(rollout, time_first(batch, model.burnin - 1), config, generator)
