"""Layers with Keras' defaults: padding, batch norm, initial weights."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.nn.precision import full_precision

MOMENTUM, EPSILON = 0.01, 1e-3
"""torch's momentum is the share of the new statistics, 1 - Keras' .99."""


class KerasBatchNorm(nn.BatchNorm1d):
    """Batch norm whose running variance is an average of biased variances, as in Keras.

    moving <- .99 moving + .01 batch for both statistics; epsilon is 1e-3. torch averages unbiased
    variances.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON, momentum=MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """Normalises x (B, C, ...) over all dimensions except the channels."""
        mean, variance, weight, bias = self.running_mean, self.running_var, self.weight, self.bias
        own = self.training or not self.track_running_stats
        if not own or not self.track_running_stats or mean is None or variance is None:
            kept = (None, None) if own else (mean, variance)
            return F.batch_norm(x, *kept, weight, bias, own, MOMENTUM, EPSILON)
        # The backward pass keeps the statistics it is given, which therefore cannot be the buffers.
        means, variances = mean.clone(), variance.clone()
        y = F.batch_norm(x, means, variances, weight, bias, True, MOMENTUM, EPSILON)
        count = x.numel() // x.shape[1]
        with torch.no_grad():
            mean.copy_(means)
            # torch moved it by count / (count - 1) times the biased variance.
            variance.copy_(torch.lerp(variances, (1 - MOMENTUM) * variance, 1 / count))
        return y


class SameConv1d(nn.Conv1d):
    """1D convolution that keeps the length T: (k - 1) // 2 zeros before, k // 2 after.

    Lines are stored as images of one row, (B, C, 1, T), because torch's batch norms and pools for
    images are fast in channels-last memory.

    Args:
        inputs, outputs: channels.
        taps: k.
        repeats: s; the convolution is of the line in which each position stands s times. It is
            computed from the positions themselves: where taps meet the same one they are added
            up beforehand, 3 in place of 5 for s = 2, and s results of a position lie side by side
            as s times the channels, which in channels-last memory is their order along the line.
    """

    met: Tensor

    def __init__(self, inputs: int, outputs: int, taps: int, repeats: int = 1) -> None:
        super().__init__(inputs, outputs, taps, padding=(taps - 1) // 2)
        self.repeats = repeats
        before, behind = (taps - 1) // 2, taps // 2
        # Taps of the computed convolution, before and behind a position.
        self.before, self.behind = -(-before // repeats), (behind + repeats - 1) // repeats
        if repeats > 1:
            self.register_buffer("met", self._meetings(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, 1, T) -> (B, outputs, 1, s T)."""
        weight, bias = self.weight, self.bias
        if self.repeats > 1:
            with full_precision(x.device):
                weight = self.computed(weight)
            bias = None if bias is None else bias.repeat(self.repeats)
        if self.behind > self.before:
            x = F.pad(x, (0, self.behind - self.before))
        y = F.conv2d(x, weight.unsqueeze(2), bias, padding=(0, self.before))
        if self.repeats > 1:
            y = y.permute(0, 2, 3, 1).unflatten(3, (self.repeats, -1)).flatten(2, 3)
            y = y.permute(0, 3, 1, 2)
        return y

    def computed(self, weight: Tensor) -> Tensor:
        """The weight (outputs, inputs, k) of the computed convolution (s outputs, inputs, taps)."""
        if self.repeats == 1:
            return weight
        met = torch.mm(weight.flatten(0, 1), self.met)
        met = met.view(*weight.shape[:2], self.repeats, -1)
        return met.permute(2, 0, 1, 3).flatten(0, 1)

    def returned(self, slope: Tensor) -> Tensor:
        """The slope by the weight from that by `computed`."""
        if self.repeats == 1:
            return slope
        apart = slope.unflatten(0, (self.repeats, -1)).permute(1, 2, 0, 3)
        shape = apart.shape[:2]
        return torch.mm(apart.flatten(0, 1).flatten(1), self.met.t()).view(*shape, -1)

    def _meetings(self) -> Tensor:
        """1 where a tap meets a position, (k, s taps), for each of the s places of a result."""
        taps, positions = self.kernel_size[0], self.before + 1 + self.behind
        found = torch.zeros(taps, self.repeats, positions)
        for tap, place in product(range(taps), range(self.repeats)):
            at = place + tap - (taps - 1) // 2
            found[tap, place, self.before + at // self.repeats] = 1
        return found.flatten(1)


def initialised(net: nn.Module) -> None:
    """Initialises the layers of `net` as Keras does: Glorot uniform weights, biases 0."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
