"""The plainest rival of a root read by query: an MLP from the steps given to all steps at once."""

# N batch, T steps, L of them given, d channels, o outputs a step, H width

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.errors import DataError
from weft.families.warp.cell.activation import activation
from weft.families.warp.cell.outputs import Head, Prediction
from weft.families.warp.cell.parts import head_of, memory_of
from weft.families.warp.config import Config
from weft.families.warp.sets.source import SeriesSpec


class Perceptron(nn.Module):
    """x_0 .. x_{L-1} -> H -> H -> outputs of all T steps, called and asked as `WarpModel` is.

    Args:
        head: of the outputs.
        given: L.
        channels: d.
        steps: T.
        width: H.
        nonlinearity: name of the activation.
    """

    def __init__(
        self, head: Head, given: int, channels: int, steps: int, width: int, nonlinearity: str
    ) -> None:
        super().__init__()
        self.head, self.given, self.channels, self.steps = head, given, channels, steps
        self.first = nn.Linear(given * channels, width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, steps * head.outputs)
        self.activation = activation(nonlinearity)

    def forward(
        self,
        x: Tensor,
        *,
        force: Tensor | None = None,
        sample: Tensor | None = None,
        length: Tensor | None = None,
        position: Tensor | None = None,
        last: bool = False,
    ) -> Prediction:
        """All T steps from the L given ones, or only what is to be asked, if `last`.

        Args:
            x: (N, L, d).
            force, sample, length, position: of recurrences; None here.
            last: whether the outputs are left to `query`.
        Raises:
            DataError: if other than L steps are given, or what recurrences take.
        """
        if any(other is not None for other in (force, sample, length, position)):
            raise DataError("an MLP from steps to steps takes nothing beside the steps")
        if x.shape[1:] != (self.given, self.channels):
            raise DataError(
                f"an MLP made for {self.given} steps of {self.channels} channels was given "
                f"{tuple(x.shape[1:])}",
                expected="as many steps as in training",
            )
        h = self.activation(self.second(self.activation(self.first(x.flatten(1)))))
        if last:
            return Prediction(None, None, None, h)
        return self.query(h, torch.arange(self.steps, device=x.device))

    def query(self, theta: Tensor, position: Tensor) -> Prediction:
        """The outputs at whole places.

        Args:
            theta: the last hidden layer, (N, H).
            position: places in steps, (M,), or of each sequence (N, M).
        """
        raw = self.third(theta).unflatten(1, (self.steps, self.head.outputs))
        place = position.long().expand(len(theta), position.shape[-1])
        raw = raw.gather(1, place.unsqueeze(-1).expand(-1, -1, self.head.outputs))
        return self.head.split(self.head(raw), theta)


def build_perceptron(config: Config, spec: SeriesSpec, width: int) -> Perceptron:
    """The MLP of a config with `model_type` mlp.

    Args:
        config: the run's config.
        spec: of the data.
        width: H.
    """
    return Perceptron(
        head_of(config, spec),
        memory_of(config, spec),
        spec.channels,
        spec.steps,
        width,
        config.root_activation,
    )
