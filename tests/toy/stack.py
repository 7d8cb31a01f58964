"""Toy models as one, by torch.func: the short way to stack."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from tests.toy.task import ToyTask
from weft.data.source import Batch, TensorSource
from weft.task.context import Context
from weft.task.stack import Stack


class ToyStack(Stack):
    """Lines through noisy points; all members see one source."""

    source: TensorSource

    def take(self, indices: Tensor) -> Batch:
        return self.source.take(indices, torch.default_generator)

    def gradients(self, batch: Batch, ctx: Context) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            found: Tensor = functional_call(self.models[0], weights, (x,))
            return (found - y).square().mean()

        found, losses = vmap(grad_and_value(loss))(self.weights, batch["x"], batch["y"])
        return {"loss": losses, "double": 2 * losses}, found


def stack(
    models: Sequence[nn.Module], tasks: Sequence[ToyTask], sources: Sequence[TensorSource]
) -> ToyStack:
    made = ToyStack(models)
    made.source = sources[0]
    return made
