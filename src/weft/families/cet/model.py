"""The paper's two image classifiers as plain networks, for `convert` to make learn by traces."""

# R rows (streams x time), C channels, H height, W width, K classes

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.errors import ConfigError
from weft.nn.layout import channels_last

NormOp = Literal["batch", "group", "instance", "layer", "none"]
CHANNELS = (32, 64, 128)


def mlp(
    shape: tuple[int, int, int], hidden_dim: int, num_classes: int, *, plain_output: bool = False
) -> nn.Sequential:
    """Dense layers w1, w2, w3 with a ReLU after each but the last.

    Args:
        shape: (C, H, W) of an image.
        hidden_dim: units in each of the two hidden layers.
        num_classes: K.
        plain_output: whether the last layer keeps torch's initialisation, see `initialised`.
    Returns: a network from images (R, C, H, W) to logits (R, K).
    """
    channels, height, width = shape
    model = nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            w1=nn.Linear(channels * height * width, hidden_dim),
            relu1=nn.ReLU(),
            w2=nn.Linear(hidden_dim, hidden_dim),
            relu2=nn.ReLU(),
            w3=nn.Linear(hidden_dim, num_classes),
        )
    )
    return initialised(model, plain_output)


def cnn(
    shape: tuple[int, int, int],
    hidden_dim: int,
    num_classes: int,
    norm_op: NormOp = "batch",
    p_drop: float = 0.0,
    *,
    plain_output: bool = False,
) -> nn.Sequential:
    """Convolutions c1, c2, c3 of 32, 64 and 128 channels, then dense layers w1 and w2.

    Each convolution (3x3, padding 1) is followed by ReLU, average pool 2, norm and dropout.

    Args:
        shape: (C, H, W) of an image; H and W at least 8.
        hidden_dim: units in the hidden dense layer.
        num_classes: K.
        norm_op: `batch` normalises each channel over the items of a stream, without gain and
            offset; `group` all of an item, with a gain and offset per channel; `layer` all of an
            item, with those per position and channel; `instance` each channel of an item, without
            them; `none` nothing.
        p_drop: probability with which dropout zeroes a unit.
        plain_output: whether the last layer keeps torch's initialisation, see `initialised`.
    Returns: a network from images (R, C, H, W) to logits (R, K).
    Raises:
        ConfigError: if the images are too small for three pools, or for `instance`.
    """
    channels, height, width = shape
    last = (height // 8, width // 8)
    if 0 in last or (norm_op == "instance" and last == (1, 1)):
        raise ConfigError(
            f"images of {height} x {width} pixels are too small for the cnn"
            + (" with norm_op=instance" if 0 not in last else ""),
            where="arch, norm_op, data.dataset",
            expected="8 x 8 pixels or more; 16 in one direction for norm_op=instance",
            hint="arch=mlp takes images of any size",
        )
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for i, width_out in enumerate(CHANNELS, start=1):
        parts[f"c{i}"] = nn.Conv2d(channels, width_out, kernel_size=3, padding=1)
        parts[f"relu{i}"] = nn.ReLU()
        parts[f"pool{i}"] = nn.AvgPool2d(2)
        channels, height, width = width_out, height // 2, width // 2
        norm = _norm(norm_op, channels, height, width)
        if norm is not None:
            parts[f"norm{i}"] = norm
        if p_drop > 0:
            parts[f"drop{i}"] = nn.Dropout(p_drop)
    parts["flatten"] = nn.Flatten()
    parts["w1"] = nn.Linear(channels * height * width, hidden_dim)
    parts["relu4"] = nn.ReLU()
    parts["w2"] = nn.Linear(hidden_dim, num_classes)
    # Channels last makes a training step on CIFAR-10 shapes 1.7 times as fast (CPU, 157 -> 87 ms).
    return channels_last(initialised(nn.Sequential(parts), plain_output))


def initialised(model: nn.Sequential, plain_output: bool = False) -> nn.Sequential:
    """`model` with Xavier-uniform weights, and biases uniform in ±sqrt(6 / (outputs + 1)).

    Args:
        plain_output: whether the last layer keeps torch's initialisation, as in the original on
            the retrograde timescale.
    """
    layers = [layer for layer in model if isinstance(layer, nn.Linear | nn.Conv2d)]
    for layer in layers[:-1] if plain_output else layers:
        nn.init.xavier_uniform_(layer.weight)
        assert layer.bias is not None
        bound = (6 / (len(layer.bias) + 1)) ** 0.5
        nn.init.uniform_(layer.bias, -bound, bound)
    return model


class StreamNorm(nn.BatchNorm2d):
    """Batch normalisation of each stream by its own statistics, without gain and offset.

    The running statistics are updated by the mean over streams. As the update is linear, this
    equals one stream on each of several processes that average their buffers.

    Attributes:
        streams: streams of equal length in a batch, one after another along dimension 0.
        lends: whether the statistics of the current batch are stored in `lent`.
        lent: mean and variance of each stream that replace the statistics of a batch, each (C,);
            empty unless `lending` has filled it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=False)
        self.streams = 1
        self.lends, self.lent = False, list[tuple[Tensor, Tensor]]()

    def forward(self, x: Tensor) -> Tensor:
        """x (R, C, H, W) normalised; in eval mode by the running statistics."""
        if not self.training:
            return super().forward(x)
        if self.lends:
            self.lent = [_moments(part) for part in x.chunk(self.streams)]
        elif self.lent:
            parts = zip(x.chunk(self.streams), self.lent, strict=True)
            return torch.cat(
                [F.batch_norm(part, *lent, training=False, eps=self.eps) for part, lent in parts]
            )
        if self.streams == 1:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None
        assert self.momentum is not None
        outs, means, variances = [], [], []
        for part in x.chunk(self.streams):
            means.append(self.running_mean.clone())
            variances.append(self.running_var.clone())
            outs.append(
                F.batch_norm(
                    part, means[-1], variances[-1],
                    training=True, momentum=self.momentum, eps=self.eps,
                )
            )  # fmt: skip
        if self.track_running_stats:
            self.running_mean.copy_(torch.stack(means).mean(0))
            self.running_var.copy_(torch.stack(variances).mean(0))
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
        return torch.cat(outs)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of each channel over items and positions, each (C,)."""
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0)
    return mean, variance


@contextmanager
def lending(model: nn.Module) -> Iterator[None]:
    """Has every `StreamNorm` of `model` store the statistics of the batch inside this context.

    Later batches are normalised by them until `keep_own` is called.
    """
    norms = [module for module in model.modules() if isinstance(module, StreamNorm)]
    for norm in norms:
        norm.lends = True
    try:
        yield
    finally:
        for norm in norms:
            norm.lends = False


def keep_own(model: nn.Module) -> None:
    """Ends the effect of `lending`: every batch is normalised by its own statistics again."""
    for module in model.modules():
        if isinstance(module, StreamNorm):
            module.lent = []


def set_streams(model: nn.Module, streams: int) -> None:
    """Sets the number of streams in a batch in every `StreamNorm` of `model`."""
    for module in model.modules():
        if isinstance(module, StreamNorm):
            module.streams = streams


def _norm(norm_op: NormOp, channels: int, height: int, width: int) -> nn.Module | None:
    if norm_op == "batch":
        return StreamNorm(channels)
    if norm_op == "group":
        return nn.GroupNorm(1, channels)
    if norm_op == "instance":
        return nn.InstanceNorm2d(channels)
    if norm_op == "layer":
        return nn.LayerNorm((channels, height, width))
    return None
