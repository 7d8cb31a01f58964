"""The position features of a root's input: time, positional encoding, picture coordinates."""

# T steps, q features of a place, r clock channels of the drive

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from weft.errors import ConfigError, DataError
from weft.families.warp.cell.ranges import check_count, check_size
from weft.families.warp.cell.recurrence_rule import Drive


class Ticks(NamedTuple):
    """The clock of a sequence.

    Attributes:
        tau: features at which the root is read at each step, (T, q); (T, N, q) if sequences have
            different clocks.
        dclock: clock channels of the drive, (T, r) or (T, N, r); row 0 drives the first real step.
    """

    tau: Tensor
    dclock: Tensor


def aligned(own: Sequence[Ticks], steps: int) -> Ticks:
    """The clocks of right-aligned sequences in one tensor, each from its first step on.

    Args:
        own: the ticks of each of N sequences.
        steps: T, of the longest one.
    Returns: tau (T, N, q) and dclock (T, N, r); in the padding those of the first step.
    """
    taus, dclocks = [], []
    for tau, dclock in own:
        late = steps - len(tau)
        taus.append(torch.cat([tau[:1].expand(late, -1), tau]))
        dclocks.append(torch.cat([dclock[:1].expand(late, -1), dclock]))
    return Ticks(torch.stack(taus, 1), torch.stack(dclocks, 1))


@dataclass(frozen=True)
class Clock:
    """Features of a position k = 0, 1, ...: [k / (length - 1), encoding, x, y].

    Args:
        length: number of positions in the time from 0 to 1.
        encoding: (p, c): p columns sin(k / c^(i/p)), cos(k / c^(i/p)) for even i; None for none.
        picture: (rows, columns) of a picture read row by row, whose normalised coordinates
            x = column / (columns - 1) and y = row / (rows - 1) become features; None for none.
        waves: n; sines and cosines of x and y, scaled to [-1, 1], with the frequencies pi / 2,
            2 pi / 2, ... n pi / 2 are features too.
        time_as_channel: whether the difference of time drives the weights; with a picture, the
            differences of (time, x, y) always do.
        extrapolates: whether a run that feeds predictions back reads the root at 2 c_t - c_{t-1},
            with the vector c of all features, as the original does, and not at the features of the
            next position.
    """

    length: int
    encoding: tuple[int, float] | None = None
    picture: tuple[int, int] | None = None
    time_as_channel: bool = False
    waves: int = 0
    extrapolates: bool = False

    def __post_init__(self) -> None:
        check_count("length", self.length)
        check_count("waves", self.waves, least=0)
        for side in self.picture or ():
            check_count("picture", side)
        if self.encoding is not None:
            check_size("encoding", self.encoding[1])
        if self.encoding is not None and (self.encoding[0] < 2 or self.encoding[0] % 2):
            raise ConfigError(
                f"a positional encoding has pairs of columns, not {self.encoding[0]}",
                where="positional_encoding",
                expected="an even number of columns, 2 or more",
            )

    @property
    def features(self) -> int:
        """Q, features of a position."""
        encoding = 0 if self.encoding is None else self.encoding[0]
        return 1 + encoding + (0 if self.picture is None else 2 + 4 * self.waves)

    @property
    def channels(self) -> int:
        """R, clock channels of the drive."""
        return int(self.time_as_channel) if self.picture is None else 3

    def times(self, position: Tensor) -> Tensor:
        """k / (length - 1), shape of `position`."""
        return position / max(1, self.length - 1)

    def coordinates(self, position: Tensor) -> Tensor:
        """(x, y) of positions in the picture, shape (..., 2)."""
        assert self.picture is not None
        rows, columns = self.picture
        row = torch.floor(position / columns)
        x = (position - row * columns) / max(1, columns - 1)
        return torch.stack([x, row / max(1, rows - 1)], -1)

    def read(self, position: Tensor, coordinates: Tensor | None = None) -> Tensor:
        """The features of positions, whole or fractional.

        Args:
            position: any shape (...).
            coordinates: (x, y) to use instead of those of the position, (..., 2).
        Returns: (..., q).
        """
        columns = [self.times(position).unsqueeze(-1)]
        if self.encoding is not None:
            count, base = self.encoding
            even = torch.arange(0, count, 2, device=position.device, dtype=position.dtype)
            angle = position.unsqueeze(-1) / base ** (even / count)
            columns.append(torch.stack([angle.sin(), angle.cos()], -1).flatten(-2))
        if self.picture is not None:
            place = self.coordinates(position) if coordinates is None else coordinates
            columns.append(place)
            for wave in range(1, self.waves + 1):
                angle = (2 * place - 1) * (wave * math.pi / 2)
                columns += [angle.sin(), angle.cos()]
        return torch.cat(columns, -1)

    def places(self, rows: int, columns: int, lead: int = 0) -> tuple[Tensor, Tensor]:
        """Positions and coordinates of the picture's pixels at another resolution, row by row.

        Args:
            rows, columns: of the result; its corner pixels are those of `picture`.
            lead: how many steps after its own position the root is read for a pixel.
        Returns: positions (rows * columns,) and coordinates (rows * columns, 2), float64.
        """
        assert self.picture is not None
        height, width = self.picture
        row = torch.linspace(0, height - 1, rows, dtype=torch.float64).repeat_interleave(columns)
        column = torch.linspace(0, width - 1, columns, dtype=torch.float64).repeat(rows) + lead
        position = row * width + column
        # With a lead the last column is read at the first one of the next row, as in training.
        wraps = column > width - 1
        column = torch.where(wraps, (column - width).clamp_min(0), column)
        x, y = column / max(1, width - 1), (row + wraps) / max(1, height - 1)
        return position, torch.stack([x, y], -1)

    def channel(self, position: Tensor) -> Tensor:
        """The values whose differences drive the weights, (..., r)."""
        if self.channels == 0:
            return position.new_empty(*position.shape, 0)
        time = self.times(position).unsqueeze(-1)
        return time if self.picture is None else torch.cat([time, self.coordinates(position)], -1)

    def ticks(
        self, position: Tensor, drive: Drive | None = None, before: Tensor | None = None
    ) -> Ticks:
        """The clock of a sequence.

        A free run reads the root at its own position. One that feeds back predictions reads it at
        2 k_t - k_{t-1}, the next position on an even grid, where k_{-1} = k_0 (so that the first
        step looks at itself) or, for `innovation`, k_{-1} = -k_1.

        Args:
            position: k of each step, rising, (T,).
            drive: of a run that feeds back predictions; None for a free run.
            before: k_{-1} of a run that continues a state, (1,); None at the start.
        """
        if len(position) == 0:
            raise DataError("a sequence has no steps", expected="one step or more")
        if before is None:
            before = position[:1]
            if drive == "innovation":
                before = -position[1:2] if len(position) > 1 else position[:1] - 1
        previous = torch.cat([before, position[:-1]])
        where = position if drive is None else 2 * position - previous
        tau = self.read(where)
        if drive is not None and self.extrapolates:
            tau = 2 * self.read(position) - self.read(previous)
        return Ticks(tau, self.channel(position) - self.channel(previous))
