"""Inference step by step, with a state of O(D) numbers per sequence, whatever its length."""

# N sequences side by side, d data channels, D weights, o outputs

from __future__ import annotations

import torch
from torch import Tensor

from weft.errors import ConfigError, DataError
from weft.families.warp.cell.clock import Ticks
from weft.families.warp.model import WarpModel
from weft.families.warp.reference import Carry, Feedback, begin, feedback_step, free_step, read
from weft.families.warp.rnn import WeightSpaceRNN


class Stream:
    """Reads sequences as they arrive; equal to the network's `forward` at every step.

    >>> stream = Stream(rnn, feedback=True)
    >>> for datum in context: out = stream.step(datum)      # (N, d) to (N, o)
    >>> for _ in range(100): out = stream.step()            # its own predictions, on and on

    Args:
        model: a `WeightSpaceRNN` with a `length`, or a `WarpModel`; used in eval mode, without
            noise in its initial weights.
        feedback: whether predictions replace data that are not given (M2), as in `forward` with a
            force of 1 at steps with a datum and 0 at others.
    Attributes:
        theta: the last layer's weights now, (N, D).
    Raises:
        ConfigError: if the time of a step is unknown, or a step needs later data.
    """

    def __init__(self, model: WeightSpaceRNN | WarpModel, *, feedback: bool = False) -> None:
        rnn = model.rnn if isinstance(model, WarpModel) else model
        if rnn.length is None:
            raise ConfigError(
                "the time of a step depends on how many there will be",
                where="length",
                expected="WeightSpaceRNN(..., length=T)",
            )
        embedding = rnn.embedding
        looks_ahead = embedding is not None and (not embedding.causal or embedding.original)
        if looks_ahead or (rnn.smoothing is not None and not rnn.smoothing.causal):
            raise ConfigError(
                "a convolution that is not causal needs data that are yet to come, and the "
                "original's sees zeros before the first one",
                where="embedding, smoothing",
                expected="a causal embedding",
            )
        self.rnn, self.feedback = rnn, feedback
        self._count = 0
        self._carries: list[Carry] = []
        self._back: Feedback | None = None
        self._inputs: Tensor | None = None
        self._raws: Tensor | None = None

    @property
    def theta(self) -> Tensor:
        """The last layer's weights now, (N, D).

        Raises:
            DataError: before the first step.
        """
        if not self._carries:
            raise DataError("the stream has read nothing yet", expected="a call of `step` first")
        return self._carries[-1].theta

    @torch.no_grad()
    def step(self, x: Tensor | None = None, sample: Tensor | None = None) -> Tensor:
        """One step.

        Args:
            x: the datum, (N, d); None feeds the prediction back, if `feedback` is set.
            sample: standard normal, (N, d), by which the next prediction fed back strays from the
                mean; None for the mean.
        Returns: outputs [means, deviations, logits], (N, o).
        Raises:
            DataError: if there is neither a datum nor a prediction.
        """
        if x is None and (self._back is None or not self.feedback):
            raise DataError(
                "there is neither a datum nor a prediction that could replace it",
                expected="a first datum; and for steps without one Stream(model, feedback=True)",
            )
        ticks = self._ticks()
        if self.feedback:
            out = self._fed_back(x, sample, ticks)
        else:
            assert x is not None
            out = self._free(x, ticks)
        self._count += 1
        return out

    def _free(self, x: Tensor, ticks: Ticks) -> Tensor:
        if self.rnn.embedding is not None:
            self._inputs = _window(self._inputs, x, self.rnn.embedding.kernel)
            x = self.rnn.embedding(self._inputs)[:, -1]
        raw = self._upward(x, ticks, 0)
        if self.rnn.smoothing is not None:
            self._raws = _window(self._raws, raw, self.rnn.smoothing.kernel)
            raw = self.rnn.smoothing(self._raws)[:, -1]
        out: Tensor = self.rnn.head(raw)
        return out

    def _fed_back(self, x: Tensor | None, sample: Tensor | None, ticks: Ticks) -> Tensor:
        if self._back is None:
            assert x is not None
            self._back = Feedback(x, x)
            self._carries.append(begin(self.rnn.layers[0], x))
        back, layer, head = self._back, self.rnn.layers[0], self.rnn.head
        truth = back.guess if x is None else x
        force = truth.new_full((len(truth),), float(x is not None))
        moved = feedback_step(layer, self._carries[0], back, truth, force, ticks.dclock[0])
        self._carries[0] = moved
        raw = self._upward(read(layer, moved.theta, ticks.tau[0], back.before), ticks, 1)
        out: Tensor = head(raw)
        guess = out[:, : head.channels]
        if sample is not None:
            guess = guess + out[:, head.channels : 2 * head.channels] * sample
        self._back = Feedback(guess, back.guess)
        return out

    def _upward(self, signal: Tensor, ticks: Ticks, lowest: int) -> Tensor:
        """Raw outputs of the layers from `lowest` on, driven by `signal` (N, d)."""
        for i, layer in enumerate(self.rnn.layers[lowest:], start=lowest):
            if i == len(self._carries):
                self._carries.append(begin(layer, signal))
            self._carries[i] = free_step(layer, self._carries[i], signal, ticks.dclock[0])
            signal = read(layer, self._carries[i].theta, ticks.tau[0], signal)
        return signal

    def _ticks(self) -> Ticks:
        """The clock of the current step, as one row."""
        parameter = next(self.rnn.parameters())
        first = max(0, self._count - 1)
        now = torch.arange(first, first + 3, dtype=parameter.dtype, device=parameter.device)
        drive = self.rnn.layers[0].rule.drive if self.feedback else None
        ticks = self.rnn.clock.ticks(now, drive)
        row = min(1, self._count)
        return Ticks(ticks.tau[row : row + 1], ticks.dclock[row : row + 1])


def _window(past: Tensor | None, now: Tensor, size: int) -> Tensor:
    """The last `size` values, (N, size, c), up to `now` (N, c), padded with the first one."""
    if past is None:
        return now.unsqueeze(1).expand(-1, size, -1)
    return torch.cat([past[:, 1:], now.unsqueeze(1)], 1)
