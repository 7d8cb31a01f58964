"""`Stack`: many models of equal shapes as one, which `weft sweep --stack` trains together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from weft.data.source import Batch
from weft.task.context import Context


class Stack(ABC):
    """K models that learn independently; their tensors of one name form one tensor (K, ...).

    The models keep their own tensors for evaluations and checkpoints; `hand_out` updates them.

    Args:
        models: the members, on their device, in the order of dimension 0.

    Attributes:
        weights: name of a trainable parameter -> that of all members, (K, ...).
        buffers: name of any other tensor in a state_dict -> that of all members, (K, ...), with
            zeros for members that lack it.
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
        """The batches of all members as one, on the device.

        Args:
            indices: the index batch of each member for this step, (K, ...).
        """

    @abstractmethod
    def gradients(self, batch: Batch, ctx: Context) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Scalars by name, each (K,), `loss` among them; and the gradients of `weights` by name.

        If `ctx.log` is false it must neither wait for the device nor depend on `ctx.step`, since
        the step may be recorded as a CUDA graph. Buffers are updated in place.
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
