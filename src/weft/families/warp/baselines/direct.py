"""Baselines that map the given steps to all steps at once: MLP and DLinear."""

# N batch, T steps, L of them given, d channels, o outputs a step, H width, F features

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.errors import ConfigError, DataError
from weft.families.warp.cell.activation import activation
from weft.families.warp.cell.outputs import Head, Prediction
from weft.families.warp.cell.parts import head_of, memory_of
from weft.families.warp.config import Config
from weft.families.warp.sets.source import SeriesSpec

SMOOTH = 25
"""Steps of the moving average that DLinear takes as the trend."""


class Direct(nn.Module, ABC):
    """From x_0 .. x_{L-1} to the outputs at T positions, with the interface of `WarpModel`.

    Args:
        head: of the outputs.
        given: L.
        channels: d.
        steps: T.
    """

    def __init__(self, head: Head, given: int, channels: int, steps: int) -> None:
        super().__init__()
        self.head, self.given, self.channels, self.steps = head, given, channels, steps

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Features (N, F) of the given steps, (N, L, d)."""

    @abstractmethod
    def outputs(self, features: Tensor) -> Tensor:
        """Raw outputs of all steps, (N, T, o)."""

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
        """Predictions of all T steps from the L given ones; only the features if `last`.

        Args:
            x: (N, L, d).
            force, sample, length, position: must be None; they apply to recurrences.
            last: whether outputs are left to `query`.
        Raises:
            DataError: if the number of steps is not L, or an argument of recurrences is given.
        """
        if any(other is not None for other in (force, sample, length, position)):
            raise DataError("a map from steps to steps takes nothing beside the steps")
        if x.shape[1:] != (self.given, self.channels):
            raise DataError(
                f"a map made for {self.given} steps of {self.channels} channels was given "
                f"{tuple(x.shape[1:])}",
                expected="as many steps as in training",
            )
        features = self.features(x)
        if last:
            return Prediction(None, None, None, features)
        return self.query(features, torch.arange(self.steps, device=x.device))

    def query(self, theta: Tensor, position: Tensor) -> Prediction:
        """The outputs at integer positions.

        Args:
            theta: features, (N, F).
            position: positions in steps, (M,), or of each sequence (N, M).
        """
        raw = self.outputs(theta)
        place = position.long().expand(theta.shape[0], position.shape[-1])
        raw = raw.gather(1, place.unsqueeze(-1).expand(-1, -1, self.head.outputs))
        return self.head.split(self.head(raw), theta)


class Perceptron(Direct):
    """An MLP with two hidden layers from all given steps to all outputs.

    Args:
        head, given, channels, steps: as of `Direct`.
        width: H.
        nonlinearity: name of the activation.
    """

    def __init__(
        self, head: Head, given: int, channels: int, steps: int, width: int, nonlinearity: str
    ) -> None:
        super().__init__(head, given, channels, steps)
        self.first = nn.Linear(given * channels, width)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, steps * head.outputs)
        self.activation = activation(nonlinearity)

    def features(self, x: Tensor) -> Tensor:
        """The second hidden layer, (N, H)."""
        return self.activation(self.second(self.activation(self.first(x.flatten(1)))))

    def outputs(self, features: Tensor) -> Tensor:
        """One affine map, (N, T, o)."""
        raw: Tensor = self.third(features)
        return raw.unflatten(1, (self.steps, self.head.outputs))


class DLinear(Direct):
    """Two linear maps in time, of the trend and of the remainder, shared by all channels.

    Zeng, Chen, Zhang, Xu, *Are Transformers Effective for Time Series Forecasting?* (2023).

    Args:
        head: of as many means (and deviations) as there are channels.
        given, channels, steps: as of `Direct`.
    Raises:
        ConfigError: if there are other outputs.
    """

    def __init__(self, head: Head, given: int, channels: int, steps: int) -> None:
        super().__init__(head, given, channels, steps)
        if head.channels != channels or head.classes:
            raise ConfigError(
                f"DLinear tells of the {channels} channels it is given, not of {head.channels}",
                where="model_type",
                expected="a target of the same channels",
            )
        each = head.outputs // channels
        self.trend = nn.Linear(given, steps * each)
        self.rest = nn.Linear(given, steps * each)

    def features(self, x: Tensor) -> Tensor:
        """The given steps themselves, (N, d L)."""
        return x.mT.flatten(1)

    def outputs(self, features: Tensor) -> Tensor:
        """Both maps, (N, T, o)."""
        series = features.unflatten(1, (self.channels, self.given))
        half = SMOOTH // 2
        trend = F.avg_pool1d(F.pad(series, (half, half), mode="replicate"), SMOOTH, stride=1)
        raw: Tensor = self.trend(trend) + self.rest(series - trend)
        return raw.unflatten(-1, (self.steps, -1)).permute(0, 2, 3, 1).flatten(2)


def build_direct(config: Config, spec: SeriesSpec, width: int) -> Direct:
    """The map of a config with `model_type` mlp or dlinear.

    Args:
        config: the run's config.
        spec: of the data.
        width: H of an MLP.
    """
    head, given = head_of(config, spec), memory_of(config, spec)
    if config.model_type == "dlinear":
        return DLinear(head, given, spec.channels, spec.steps)
    return Perceptron(head, given, spec.channels, spec.steps, width, config.root_activation)
