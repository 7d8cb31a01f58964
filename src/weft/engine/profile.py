"""What a run will cost, before it runs: parameters, FLOPs and memory of one step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from weft.data.source import Batch
from weft.engine.parts import Parts
from weft.task import calls
from weft.task.context import Context

SCHEMA = 1
"""Version of the layout of a run's files."""

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


def cost(parts: Parts) -> Cost:
    """Costs one training step on tensors without content; on real zeros where some operation has
    no form for those, or asks for a value."""
    try:
        return _cost(parts, torch.device("meta"))
    except RuntimeError as error:
        if not _needs_values(error):
            raise
    return _cost(parts, torch.device("cpu"))


def resolved(parts: Parts) -> dict[str, Any]:
    """Lengths, sizes and costs: derived once and stored with the run."""
    plan = parts.plan
    return {
        "schema": SCHEMA,
        "total_steps": plan.total_steps,
        "batches_per_epoch": plan.batches_per_epoch,
        "eval_every": plan.eval_every,
        "save_every": plan.save_every,
        **{f"{split}_items": size for split, size in parts.spec.sizes.items()},
        "device": str(parts.device),
        **asdict(cost(parts)),
    }


def _needs_values(error: Exception) -> bool:
    """Whether torch refused for want of content: a missing kernel, or a value that is asked for."""
    said = str(error)
    return isinstance(error, NotImplementedError) or "meta tensor" in said or "'Meta'" in said


def _cost(parts: Parts, device: torch.device) -> Cost:
    task, spec, config = parts.task, parts.spec, parts.config
    with device:
        model = task.model(spec)
    split = config.engine.accumulation
    ctx = Context(config.seed, 0, 1, device, parts=split, log=False)
    whole = calls.draw(task, spec.example(device), ctx)
    batch: Batch = {k: v[: max(1, len(v) // split)] for k, v in whole.items()}
    weights = [p for p in model.parameters() if p.requires_grad]
    # What a model computes once and keeps is no part of a step.
    calls.loss(task, model, batch, ctx)
    saved = _SavedBytes(model)
    with FlopCounterMode(display=False) as counter:
        with saved_tensors_hooks(saved.pack, lambda tensor: tensor):
            loss, _ = calls.loss(task, model, batch, ctx)
        torch.autograd.backward(loss)
    size = sum(p.numel() * p.element_size() for p in weights)
    return Cost(
        parameters=sum(p.numel() for p in weights),
        flops_per_step=counter.get_total_flops() * split,
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
