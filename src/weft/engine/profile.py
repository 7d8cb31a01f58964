"""What a run will cost, before it runs: parameters, FLOPs and memory of one step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from weft.config.base import FamilyConfig
from weft.data.source import Batch, DataSpec
from weft.family import Context, Task

# Bytes of optimiser state for each byte of weights: Adam keeps two moments.
_STATES = {"adam": 2, "adamw": 2, "sgd": 0}


@dataclass(frozen=True)
class Cost:
    """Cost of a run by shape analysis; nothing was trained.

    Attributes:
        parameters: trainable numbers.
        flops_per_step: multiply-adds counted as two, forward and backward, of the matrix products,
            convolutions and attention (elementwise work is not counted).
        bytes_weights: weights, gradients and optimiser state.
        bytes_activations: what one forward pass saves for the backward pass.
    """

    parameters: int
    flops_per_step: int
    bytes_weights: int
    bytes_activations: int


def cost(task: Task[Any], spec: DataSpec, config: FamilyConfig) -> Cost:
    """Costs one training step on tensors without content; real zeros where shapes depend on
    values."""
    try:
        return _cost(task, spec, config, torch.device("meta"))
    except (NotImplementedError, RuntimeError):
        return _cost(task, spec, config, torch.device("cpu"))


def _cost(task: Task[Any], spec: DataSpec, config: FamilyConfig, device: torch.device) -> Cost:
    with device:
        model = task.model(spec)
    parts = config.engine.accumulation
    batch: Batch = {k: v[: max(1, len(v) // parts)] for k, v in spec.example(device).items()}
    ctx = Context(config.seed, 0, 1, device, log=False)
    weights = [p for p in model.parameters() if p.requires_grad]
    if task.gradients is None:
        task.loss(model, batch, ctx)  # What a model computes once and keeps is no part of a step.
    saved = _SavedBytes(model)
    with FlopCounterMode(display=False) as counter:
        if task.gradients is not None:
            task.gradients(model, batch, ctx)
        else:
            with saved_tensors_hooks(saved.pack, lambda tensor: tensor):
                loss, _ = task.loss(model, batch, ctx)
            torch.autograd.backward(loss)
    size = sum(p.numel() * p.element_size() for p in weights)
    return Cost(
        parameters=sum(p.numel() for p in weights),
        flops_per_step=counter.get_total_flops() * parts,
        bytes_weights=size * (2 + _STATES.get(config.optim.kind, 2)),
        bytes_activations=saved.total,
    )


class _SavedBytes:
    """Adds up what autograd saves, each storage once, weights left out."""

    def __init__(self, model: nn.Module) -> None:
        self.seen = {p.untyped_storage()._cdata for p in model.parameters()}
        self.kept: list[Tensor] = []  # Alive, so that no storage address is used twice.
        self.total = 0

    def pack(self, tensor: Tensor) -> Tensor:
        """Counts `tensor` and hands it on."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.seen:
            self.seen.add(storage._cdata)
            self.kept.append(tensor)
            self.total += storage.nbytes()
        return tensor
