"""From raw outputs of the root to means, standard deviations and logits: an elementwise map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.errors import ConfigError
from weft.families.warp.cell.activation import activation
from weft.families.warp.cell.ranges import check_count, check_size

Final = str | float | Sequence[float] | None


class Prediction(NamedTuple):
    """A model's predictions of each step; None for outputs that it does not have.

    Attributes:
        mean: (N, T, c).
        std: (N, T, c), positive.
        logits: (N, T, K), or (N, 1, K) if only the last step is read.
        theta: the root's weights after the last step, (N, D).
    """

    mean: Tensor | None
    std: Tensor | None
    logits: Tensor | None
    theta: Tensor


class Head(nn.Module):
    """Elementwise maps of the root's output columns [mean, raw std, logits].

    mean = final(raw); std = max(softplus(raw), std_lower_bound), with raw replaced by tanh(raw) if
    `std_tanh`; logits are not changed.

    Args:
        channels: c, number of means; 0 for a pure classifier.
        final: activation of the mean: a name; a number b to clip to [-b, b]; four numbers
            (a, b, alpha, beta), the start of a learnable alpha tanh((raw - b) / a) + beta; or None.
        uncertain: whether there is a std for each mean.
        std_tanh: whether raw stds pass a tanh first.
        std_lower_bound: smallest std.
        classes: K, number of logits.
    Raises:
        ConfigError: if `final` is none of these, or a number is invalid.
    """

    def __init__(
        self,
        channels: int,
        *,
        final: Final = None,
        uncertain: bool = False,
        std_tanh: bool = False,
        std_lower_bound: float = 0.0,
        classes: int = 0,
    ) -> None:
        super().__init__()
        check_count("output_size", channels, least=0)
        check_count("classes", classes, least=0)
        check_size("std_lower_bound", std_lower_bound, positive=False)
        if channels == classes == 0:
            raise ConfigError(
                "the network has no outputs",
                where="output_size, classes",
                expected="one of them above 0",
            )
        self.channels, self.classes, self.uncertain = channels, classes, uncertain
        self.std_tanh, self.std_lower_bound = std_tanh, std_lower_bound
        self.named = activation(final) if isinstance(final, str) else None
        self.bound = float(final) if isinstance(final, int | float) else None
        self.dynamic: nn.Parameter | None = None
        if self.bound is not None and self.bound <= 0:
            raise ConfigError(
                f"cannot clip means to ±{self.bound:g}",
                where="root_final_activation",
                expected="a positive number",
            )
        if isinstance(final, Sequence) and not isinstance(final, str):
            if len(final) != 4 or final[0] == 0:
                raise ConfigError(
                    f"a learnable tanh has no parameters {list(final)}",
                    where="root_final_activation",
                    expected="[a, b, alpha, beta] with a != 0",
                )
            self.dynamic = nn.Parameter(torch.tensor([float(value) for value in final]))

    @property
    def outputs(self) -> int:
        """Raw outputs that the root must have."""
        return self.channels * (2 if self.uncertain else 1) + self.classes

    def forward(self, raw: Tensor) -> Tensor:
        """[mean, std, logits] of raw outputs (..., outputs), of the same shape."""
        if self.channels == 0:
            return raw
        mean, std, logits = self._columns(raw)
        columns = [self.mean(mean)]
        if self.uncertain:
            columns.append(self.std(std))
        if self.classes:
            columns.append(logits)
        return columns[0] if len(columns) == 1 else torch.cat(columns, -1)

    def mean(self, raw: Tensor) -> Tensor:
        """final(raw), elementwise."""
        if self.named is not None:
            return self.named(raw)
        if self.bound is not None:
            return raw.clamp(-self.bound, self.bound)
        if self.dynamic is not None:
            a, b, alpha, beta = self.dynamic.unbind()
            return alpha * torch.tanh((raw - b) / a) + beta
        return raw

    def std(self, raw: Tensor) -> Tensor:
        """max(softplus(raw or tanh(raw)), std_lower_bound), elementwise."""
        raw = torch.tanh(raw) if self.std_tanh else raw
        return F.softplus(raw).clamp_min(self.std_lower_bound)

    def split(self, out: Tensor, theta: Tensor) -> Prediction:
        """The columns of `forward`'s result (..., outputs) by name."""
        mean, std, logits = self._columns(out)
        return Prediction(
            mean if self.channels else None,
            std if self.uncertain else None,
            logits if self.classes else None,
            theta,
        )

    def _columns(self, raw: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stds = self.channels if self.uncertain else 0
        mean, std, logits = torch.split(raw, [self.channels, stds, self.classes], -1)
        return mean, std, logits
