"""Recurrent cells of the baselines (GRU, LSTM, linear): over all steps at once, or step by step."""

# N batch, T steps, i inputs, H state width, l layers

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""The state of a cell; each tensor has the batch in dimension 0."""


class Cell(Protocol):
    """A recurrence over inputs; calling it and repeated `step` give the same features."""

    width: int

    def begin(self, first: Tensor) -> State:
        """The state before the first step, given the first datum (N, d) of each sequence."""

    def step(self, state: State, u: Tensor) -> tuple[State, Tensor]:
        """The state after the input u (N, i), and the features (N, H) to decode."""

    def __call__(self, first: Tensor, u: Tensor) -> Tensor:
        """Features (N, T, H) of all steps of inputs u (N, T, i)."""


class GatedCell(nn.Module):
    """GRU or LSTM layers from a state of zeros.

    Args:
        kind: `gru` or `lstm`.
        inputs: i.
        width: H of every layer.
        layers: l.
    """

    def __init__(self, kind: str, inputs: int, width: int, layers: int) -> None:
        super().__init__()
        self.width, self.layers, self.parts = width, layers, 2 if kind == "lstm" else 1
        form = nn.LSTM if kind == "lstm" else nn.GRU
        self.rnn: nn.RNNBase = form(inputs, width, layers, batch_first=True)
        self.kind = kind

    def begin(self, first: Tensor) -> State:
        """Zeros, (N, H) for each layer (and for its memory)."""
        return (first.new_zeros(first.shape[0], self.width),) * (self.layers * self.parts)

    def step(self, state: State, u: Tensor) -> tuple[State, Tensor]:
        """One step through all layers."""
        after: list[Tensor] = []
        for layer in range(self.layers):
            weights = self._weights(layer)
            if self.kind == "gru":
                u = torch.gru_cell(u, state[layer], *weights)
                after.append(u)
            else:
                before = list(state[2 * layer : 2 * layer + 2])
                u, memory = torch.lstm_cell(u, before, *weights)
                after += [u, memory]
        return tuple(after), u

    def _weights(self, layer: int) -> list[Tensor]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self.rnn, f"{name}_l{layer}") for name in names]

    def forward(self, first: Tensor, u: Tensor) -> Tensor:
        """All steps by the fused kernel."""
        features: Tensor = self.rnn(u)[0]
        return features


class LinearCell(nn.Module):
    """h_t = A h_{t-1} + B u_t from h_{-1} = phi(x_0): the weight-space recurrence with a state that
    is not used as weights. A is stored as E = A - I; A starts at I and B at 0, as there.

    In a stack, the differences of a layer's states drive the next layer.

    Args:
        inputs: i.
        channels: d, of the first datum.
        width: H.
        layers: l.
    """

    def __init__(self, inputs: int, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.width = width
        sizes = [inputs, *[width] * (layers - 1)]
        self.E = nn.ParameterList(torch.zeros(width, width) for _ in sizes)
        self.B = nn.ParameterList(torch.zeros(width, size) for size in sizes)
        self.initial = nn.ModuleList(nn.Linear(channels, width) for _ in sizes)

    def begin(self, first: Tensor) -> State:
        """phi(x_0) of each layer, (N, H)."""
        return tuple(phi(first) for phi in self.initial)

    def step(self, state: State, u: Tensor) -> tuple[State, Tensor]:
        """One step through all layers."""
        after: list[Tensor] = []
        for before, e, b in zip(state, self.E, self.B, strict=True):
            h = before + before @ e.mT + u @ b.mT
            u = h - before
            after.append(h)
        return tuple(after), after[-1]

    def forward(self, first: Tensor, u: Tensor) -> Tensor:
        """All steps, one after another."""
        return stepwise(self, first, u)


def stepwise(cell: Cell, first: Tensor, u: Tensor) -> Tensor:
    """Features (N, T, H) of inputs u (N, T, i), by `step` alone."""
    state = cell.begin(first)
    features = []
    for now in u.unbind(1):
        state, feature = cell.step(state, now)
        features.append(feature)
    return torch.stack(features, 1)
