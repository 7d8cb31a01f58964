"""The published score of the encoder under `supervised`: a copy, fine-tuned with its own map."""

# T frames, B batch, D code, K dots

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch

from weft.data.source import Batch
from weft.families.jepa.model import Model
from weft.families.jepa.nets.backbone import Encoder
from weft.families.jepa.score.probe import Pair, Probe
from weft.nn.optimisers import Adam


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned encoder, and the linear map that reads positions from its codes.

    Attributes:
        encoder: in eval mode.
        probe: from codes (1, B, D) to locations (1, B, K, 2).
    """

    encoder: Encoder
    probe: Probe

    def pairs(self, batches: Iterable[Batch]) -> Iterator[Pair]:
        """Codes and locations of the first frames."""
        for batch in batches:
            yield self.encoder(batch["image"][:, :1]), batch["location"].transpose(0, 1)[:1]


def tuned(model: Model, batches: Iterable[Batch], lr: float) -> Tuned:
    """A copy of the model's encoder, trained with a new map to read the first frame's positions.

    Args:
        model: not changed.
        batches: one for each step of Adam.
        lr: Adam's learning rate.
    """
    made: Tuned | None = None
    for batch in batches:
        location = batch["location"].transpose(0, 1)[:1]
        if made is None:
            encoder = deepcopy(model.encoder).train()
            made = Tuned(encoder, Probe(encoder.dim, location.shape[-2]).to(location))
            parameters = [*encoder.parameters(), *made.probe.parameters()]
            optimiser = Adam(parameters, lr=lr)
        with torch.enable_grad():
            codes = made.encoder(batch["image"][:, :1])
            loss = (made.probe(codes) - location).square().sum(-1).mean()
            gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
    assert made is not None, "an encoder is tuned on at least one batch"
    made.encoder.eval()
    return made
