"""Layers with Keras' defaults: padding, batch norm, initial weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
    """

    def __init__(self, inputs: int, outputs: int, taps: int) -> None:
        super().__init__(inputs, outputs, taps, padding=(taps - 1) // 2)
        self.before, self.behind = (taps - 1) // 2, taps // 2 - (taps - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, 1, T) -> (B, outputs, 1, T)."""
        if self.behind:
            x = F.pad(x, (0, self.behind))
        return F.conv2d(x, self.weight.unsqueeze(2), self.bias, padding=(0, self.before))


def initialised(net: nn.Module) -> None:
    """Initialises the layers of `net` as Keras does: Glorot uniform weights, biases 0."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
