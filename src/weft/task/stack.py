"""Many models of one shape as one: what a family gives so that a sweep trains them together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from weft.data.source import Batch
from weft.task.context import Context


class Stack(ABC):
    """K models whose tensors of one name lie in one tensor, (K, ...); they learn apart.

    The models keep tensors of their own, for evaluations and checkpoints: `hand_out` fills them.

    Args:
        models: the members, on their device, in the order of dimension 0.

    Attributes:
        weights: name of a parameter that learns -> that of all members, (K, ...).
        buffers: name of any other tensor in a state_dict -> that of all members; zeros stand for
            members that have none of this name.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.models = models
        self._parts = [model.state_dict(keep_vars=True) for model in models]
        names = dict.fromkeys(name for parts in self._parts for name in parts)
        whole = {name: self._whole(name) for name in names}
        learns = {name for name, p in models[0].named_parameters() if p.requires_grad}
        self.weights = {name: tensor for name, tensor in whole.items() if name in learns}
        self.buffers = {name: tensor for name, tensor in whole.items() if name not in learns}

    @abstractmethod
    def take(self, indices: Tensor) -> Batch:
        """The members' batches as one, on the device.

        Args:
            indices: what each member's own training source plans for the step, (K, ...).
        """

    @abstractmethod
    def gradients(self, batch: Batch, ctx: Context) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Scalars of each member, (K,), `loss` among them; and by name the gradients of `weights`.

        Without `ctx.log` it neither waits for the device nor looks at `ctx.step`: a step may be
        recorded as a CUDA graph. Buffers that it moves it writes into.
        """

    @torch.no_grad()
    def hand_out(self) -> None:
        """Copies the weights and buffers of the stack into its models."""
        for name, whole in (self.weights | self.buffers).items():
            for parts, tensor in zip(self._parts, whole.unbind(), strict=True):
                if name in parts:
                    parts[name].copy_(tensor)

    def _whole(self, name: str) -> Tensor:
        like = next(parts[name] for parts in self._parts if name in parts).detach()
        own = [parts[name].detach() if name in parts else torch.zeros_like(like)
               for parts in self._parts]  # fmt: skip
        return torch.stack(own)
