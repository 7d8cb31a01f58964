"""What weights say once they have stopped moving: recall from memory, and super-resolution."""

# N batch, T steps, d data channels, D weights, M places, o outputs

from __future__ import annotations

import torch
from torch import Tensor

from weft.errors import ConfigError, DataError
from weft.families.warp.cell.clock import Clock
from weft.families.warp.rnn import WeightSpaceRNN


def recall(rnn: WeightSpaceRNN, theta: Tensor, data: Tensor, *, feedback: bool = False) -> Tensor:
    """What the weights say of every step of the sequence: memory-based inference.

    Args:
        rnn: the network.
        theta: of its last layer, (N, D).
        data: the sequence, (N, T, d); only its length counts unless `input_prev_data`.
        feedback: whether the root is read where a run that feeds predictions back reads it.
    Returns: (N, T, o).
    """
    raw = _read(rnn, theta, rnn.ticks(data, feedback=feedback).tau, data)
    out: Tensor = rnn.head(raw if rnn.smoothing is None else rnn.smoothing(raw))
    return out


def query(
    rnn: WeightSpaceRNN,
    theta: Tensor,
    position: Tensor,
    *,
    coordinates: Tensor | None = None,
    data: Tensor | None = None,
) -> Tensor:
    """What the weights say at any place, between the steps too.

    Args:
        rnn: the network; its `length` must be known.
        theta: of its last layer, (N, D).
        position: where the root is read, in steps, whole or not, (M,).
        coordinates: (x, y) of the places, (M, 2), in place of those of the positions.
        data: what the root sees beside the clock, (N, M, d), if `input_prev_data`.
    Returns: (N, M, o), without smoothing.
    Raises:
        ConfigError: if the time of a step is unknown, because `length` was left open.
        DataError: if the root sees data beside the clock and none are given.
    """
    if rnn.length is None:
        raise ConfigError(
            "the time of a step depends on how many there are",
            where="length",
            expected="WeightSpaceRNN(..., length=T)",
        )
    tau = rnn.clock.read(position.to(theta.dtype), coordinates)
    out: Tensor = rnn.head(_read(rnn, theta, tau, data))
    return out


def picture_places(clock: Clock, rows: int, columns: int, lead: int) -> tuple[Tensor, Tensor]:
    """Where to read the pixels of a picture at another resolution, row by row.

    Args:
        clock: with the size of the picture that was learnt, whose corner pixels stay corners.
        rows, columns: of the wanted picture.
        lead: how many steps ahead of its own place the root is read for a pixel.
    Returns: positions (rows * columns,) and coordinates (rows * columns, 2), float64.
    """
    assert clock.picture is not None
    height, width = clock.picture
    row = torch.linspace(0, height - 1, rows, dtype=torch.float64).repeat_interleave(columns)
    column = torch.linspace(0, width - 1, columns, dtype=torch.float64).repeat(rows) + lead
    position = row * width + column
    # A lead takes the last column to the first one of the next row, as it did in training.
    wraps = column > width - 1
    column = torch.where(wraps, (column - width).clamp_min(0), column)
    x, y = column / max(1, width - 1), (row + wraps) / max(1, height - 1)
    return position, torch.stack([x, y], -1)


def _read(rnn: WeightSpaceRNN, theta: Tensor, tau: Tensor, data: Tensor | None) -> Tensor:
    """Raw outputs (N, M, o) of weights (N, D) at features (M, q)."""
    layer, z = rnn.layers[-1], tau.expand(len(theta), *tau.shape)
    if layer.rule.input_prev_data:
        if data is None or len(rnn.layers) > 1 or rnn.embedding is not None:
            raise DataError(
                "the root sees data beside the clock, and was given none it can use",
                where="input_prev_data",
                expected="`data`, and a model of one layer without embedding",
            )
        z = torch.cat([z, data], -1)
    return layer.root(theta.unsqueeze(1), z)
