"""What a run will cost, before it runs: parameters, FLOPs and memory of a step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from weft.data.source import Batch
from weft.engine.device import using_threads
from weft.engine.flops import Flops
from weft.engine.parts import Parts
from weft.task import calls
from weft.task.context import Context

T = TypeVar("T")
SCHEMA = 1
"""Version of the layout of a run's files."""

_STATES = {"adam": 2, "adamw": 2, "sgd": 0}
"""Bytes of optimiser state for each byte of weights: Adam keeps two moments."""

_QUICK = 5e10
"""Multiply-adds that take less time than importing torch's support for meta tensors."""


@dataclass(frozen=True)
class Cost:
    """Cost of a run by shape analysis; nothing was trained.

    Attributes:
        parameters: trainable numbers.
        flops_per_step: multiply-adds counted as two, forward and backward, of the matrix products,
            convolutions and attention (elementwise work is not counted).
        bytes_weights: weights, gradients and optimiser state.
        bytes_activations: what one forward pass saves for the backward pass, where it was counted.
    """

    parameters: int
    flops_per_step: int
    bytes_weights: int
    bytes_activations: int


def cost(parts: Parts, model: nn.Module | None = None) -> Cost:
    """The cost of one training step.

    It is counted on meta tensors, which have shapes but no content; on real zeros where an
    operation needs values or has no meta kernel, or where that is sooner done (`_is_quick`).

    Args:
        parts: of the run.
        model: that will train, if it is built already.
    """
    with using_threads(parts.threads):
        if model is not None and _is_quick(parts, model):
            return _cost(parts, parts.device)
        return _without_content(lambda device: _cost(parts, device))


def _is_quick(parts: Parts, model: nn.Module) -> bool:
    """Whether a real step takes less time than importing torch's support for meta tensors (about a
    second), even if every entry of a batch met every weight."""
    if parts.device.type != "cpu" or not parts.task.steps_are_alike:
        return False
    entries = sum(entry.numel() for entry in parts.spec.example().values())
    return entries * sum(p.numel() for p in model.parameters()) < _QUICK


def mean_flops(parts: Parts, few: int = 8, many: int = 64) -> float:
    """FLOPs of a step; the mean over steps where chance decides what a step does.

    Args:
        parts: of the run.
        few: steps that are counted first; if all cost the same, no more are.
        many: steps that are averaged otherwise.
    """

    def counted(device: torch.device) -> float:
        step = _Step(parts, device)
        costs = [step.flops(number) for number in range(few)]
        if len(set(costs)) > 1:
            costs += [step.flops(number) for number in range(few, many)]
        return sum(costs) / len(costs)

    with using_threads(parts.threads):
        return _without_content(counted)


def resolved(parts: Parts, model: nn.Module | None = None) -> dict[str, Any]:
    """Lengths, sizes and costs, as resolved.yaml stores them.

    Args:
        parts: of the run.
        model: that will train, if it is built already.
    """
    plan = parts.plan
    return {
        "schema": SCHEMA,
        "total_steps": plan.total_steps,
        "batches_per_epoch": plan.batches_per_epoch,
        "eval_every": plan.eval_every,
        "save_every": plan.save_every,
        **{f"{split}_items": size for split, size in parts.spec.sizes.items()},
        "device": str(parts.device),
        **asdict(cost(parts, model)),
    }


def _without_content(count: Callable[[torch.device], T]) -> T:
    """The result of `count` on meta tensors, or on real ones where it needs values."""
    try:
        return count(torch.device("meta"))
    except RuntimeError as error:
        if not _needs_values(error):
            raise
    return count(torch.device("cpu"))


def _needs_values(error: Exception) -> bool:
    """Whether torch refused meta tensors: a missing kernel, or a value that was asked for."""
    text = str(error)
    return isinstance(error, NotImplementedError) or "meta tensor" in text or "'Meta'" in text


def _cost(parts: Parts, device: torch.device) -> Cost:
    # A real step draws random numbers, which must not change those of the run.
    with torch.random.fork_rng(devices=[]):
        step = _Step(parts, device)
        saved = _SavedBytes(step.model)
        flops = step.flops(0, saved)
    weights = [p for p in step.model.parameters() if p.requires_grad]
    size = sum(p.numel() * p.element_size() for p in weights)
    return Cost(
        parameters=sum(p.numel() for p in weights),
        flops_per_step=flops,
        bytes_weights=size * (2 + _STATES.get(parts.config.optim.kind, 2)),
        bytes_activations=saved.total,
    )


class _Step:
    """A training step whose FLOPs can be counted, on `device` (`meta` or `cpu`)."""

    def __init__(self, parts: Parts, device: torch.device) -> None:
        self.parts, self.device = parts, device
        with device:
            self.model = parts.task.model(parts.spec)
        # What a model computes once and caches is no part of a step.
        calls.loss(parts.task, self.model, *self._drawn(0))

    def flops(self, number: int, saved: _SavedBytes | None = None) -> int:
        """FLOPs of step `number`, forward and backward; `saved` adds up what autograd saves."""
        drawn = self._drawn(number)
        counter = Flops()
        with counter:
            with saved_tensors_hooks(saved.pack, _same) if saved else nullcontext():
                loss, _ = calls.loss(self.parts.task, self.model, *drawn)
            torch.autograd.backward(loss)
        return counter.total * self.parts.config.engine.accumulation

    def _drawn(self, number: int) -> tuple[Batch, Context]:
        task, config = self.parts.task, self.parts.config
        split = config.engine.accumulation
        ctx = Context(config.seed, number, number + 1, self.device, parts=split, log=False)
        whole = calls.draw(task, self.parts.spec.example(self.device), ctx)
        return {k: v[: max(1, len(v) // split)] for k, v in whole.items()}, ctx


def _same(tensor: Tensor) -> Tensor:
    return tensor


class _SavedBytes:
    """Adds up what autograd saves, each storage once, weights left out."""

    def __init__(self, model: nn.Module) -> None:
        self.seen = {p.untyped_storage()._cdata for p in model.parameters()}
        self.kept: list[Tensor] = []  # Kept alive, so that no storage's address is used twice.
        self.total = 0

    def pack(self, tensor: Tensor) -> Tensor:
        """Adds the bytes of `tensor`'s storage, if it is new, and returns the tensor."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self.seen:
            self.seen.add(storage._cdata)
            self.kept.append(tensor)
            self.total += storage.nbytes()
        return tensor
