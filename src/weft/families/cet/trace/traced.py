"""Linear and convolution layers that learn by traces, and the clock that tells them the time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from weft.errors import UsageError
from weft.families.cet.trace.carry import History
from weft.families.cet.trace.kernel import ErrorShape, Kernel, Pairing, Readout, pairing
from weft.families.cet.trace.operation import Conv, Dense
from weft.families.cet.trace.rule import Rule, Site, traced


@dataclass(frozen=True)
class Trace:
    """The trace of a layer: the arguments of `kernel.pairing` but for the length of a stream."""

    delay: int
    order: int
    kernel: Kernel = "cascade"
    readout: Readout = "last"
    error: ErrorShape = "impulse"
    carry: bool = False

    def pairing(self, length: int) -> Pairing:
        """The pairing of a stream of `length` items, float64 on the CPU."""
        made: Pairing = _uncompiled_pairing(self, length)
        return made


def _pairing(trace: Trace, length: int) -> Pairing:
    with torch.device("cpu"):
        return pairing(
            trace.delay,
            trace.order,
            length,
            kernel=trace.kernel,
            readout=trace.readout,
            error=trace.error,
            carry=trace.carry,
        )


_uncompiled_pairing = torch.compiler.disable(_pairing)


class Clock:
    """Which moment of which stream each row of a batch is; all layers of a model share one.

    Attributes:
        streams: independent streams of equal length in a batch, one after another.
        similarity: whether backward passes compare updates with the true gradient.
    """

    def __init__(self, streams: int = 1, similarity: bool = False) -> None:
        self.streams, self.similarity = streams, similarity
        self._kept: tuple[Tensor, Tensor | None, int] | None = None
        self._pairings: dict[tuple[Trace, int, torch.device, torch.dtype], Pairing] = {}

    def keep(self, times: Tensor, stream: Tensor | None = None, *, length: int) -> None:
        """From now on batches hold only some moments of each stream.

        Args:
            times: time stamps of the rows, integers in [0, length), shape (m,).
            stream: number of the stream of each row, shape (m,); None if there is but one.
            length: items B of a whole stream.
        """
        self._kept = times, stream, length

    def keep_all(self) -> None:
        """From now on batches hold whole streams, times 0..B-1 (as at the start)."""
        self._kept = None

    def pairing(self, trace: Trace, rows: int, like: Tensor) -> Pairing:
        """The pairing for a batch of `rows` rows, on the device and in the dtype of `like`.

        Raises: UsageError if the rows are not what was announced, or the trace carries and only
            some moments are kept.
        """
        if self._kept is not None:
            times, stream, length = self._kept
            if trace.carry:
                raise UsageError(
                    "carry mode needs every moment of a stream",
                    where="Clock.keep",
                    hint="convert(..., carry=False), or keep_all()",
                )
            if len(times) != rows:
                raise UsageError(
                    f"a layer got {rows} rows, but {len(times)} time stamps were announced",
                    where="Clock.keep",
                    hint="dimension 0 of a layer's input is time; call keep_all() to end keep()",
                )
            return self._whole(trace, length, like).at(times, stream)
        if rows % self.streams:
            raise UsageError(
                f"a batch of {rows} rows cannot be cut into {self.streams} streams",
                where="streams",
                expected=f"a multiple of {self.streams} in dimension 0, which is time",
                hint="flatten (streams, time, ...) to (streams * time, ...) before the model",
            )
        return self._whole(trace, rows // self.streams, like)

    def _whole(self, trace: Trace, length: int, like: Tensor) -> Pairing:
        key = trace, length, like.device, like.dtype
        if key not in self._pairings:
            self._pairings[key] = trace.pairing(length).to(like.device, like.dtype)
        return self._pairings[key]


class TracedLinear(nn.Linear):
    """A linear layer, and the ReLU behind it, that learns by a trace; made by `convert`.

    Attributes:
        clock: shared by the model's layers.
        trace, rule: what is remembered, and how an update is made of it.
        does: what the layer computes.
        similarity: cosine, centred cosine and gain of the last update, shape (3,).
        history: what earlier batches left, in carry mode; else None.
    """

    clock: Clock
    trace: Trace
    rule: Rule
    does: Dense
    similarity: Tensor
    history: History | None

    def forward(self, x: Tensor) -> Tensor:
        """As the plain layer; when training, backward makes the traced update."""
        if self.training and torch.is_grad_enabled():
            return _traced(self, x)
        out = functional.linear(x, self.weight, self.bias)
        return functional.relu(out) if self.does.relu else out


class TracedConv2d(nn.Conv2d):
    """A convolution, with the ReLU and average pool behind it, that learns by a trace.

    Attributes are those of `TracedLinear`.
    """

    clock: Clock
    trace: Trace
    rule: Rule
    does: Conv
    similarity: Tensor
    history: History | None

    def forward(self, x: Tensor) -> Tensor:
        """As the plain layer; when training, backward makes the traced update."""
        if self.training and torch.is_grad_enabled():
            if self.pads_outside:
                mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
                x = functional.pad(x, self._reversed_padding_repeated_twice, mode=mode)
            return _traced(self, x)
        out = self._conv_forward(x, self.weight, self.bias)
        if self.does.relu:
            out = functional.relu(out)
        return out if self.does.pool is None else functional.avg_pool2d(out, *self.does.pool)

    @property
    def pads_outside(self) -> bool:
        """Whether padding is more than the zeros that the convolution itself can add."""
        return self.padding_mode != "zeros" or self.padding == "same"


def _traced(layer: TracedLinear | TracedConv2d, x: Tensor) -> Tensor:
    out: Tensor = _update(layer, x) if layer.history is None else _carried(layer, x)
    return out


def _update(layer: TracedLinear | TracedConv2d, x: Tensor) -> Tensor:
    clock = layer.clock
    return traced(
        x,
        layer.weight,
        layer.bias,
        clock.pairing(layer.trace, len(x), layer.weight),
        Site(layer.does, layer.rule, clock.streams, layer.history),
        layer.similarity if clock.similarity else None,
    )


# Its backward pass moves buffers on, which a compiled graph may not.
_carried = torch.compiler.disable(_update)


class Absorbed(nn.Module):
    """Keeps the place of a ReLU or pool whose work the layer before it does.

    Args:
        original: the module that stood here.
    """

    original: nn.Module

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.__dict__["original"] = original  # not a child: it must not appear in the model's tree

    def forward(self, x: Tensor) -> Tensor:
        """`x` itself."""
        return x
