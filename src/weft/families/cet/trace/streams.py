"""The clock of a converted model: the time step and the stream of each row of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weft.errors import UsageError
from weft.families.cet.trace.kernel import ErrorShape, Kernel, Pairing, Readout, pairing
from weft.families.cet.trace.watch import WarnOnce

_PAIRINGS = 64
"""Number of pairings in the cache, the last ones used. Each has B x B numbers, and B may vary."""


@dataclass(frozen=True)
class Trace:
    """The trace of a layer: the arguments of `kernel.pairing` except the length of a stream."""

    delay: int
    order: int
    kernel: Kernel = "cascade"
    readout: Readout = "last"
    error: ErrorShape = "impulse"
    carry: bool = False
    taps: int | None = None

    def pairing(self, length: int) -> Pairing:
        """The pairing of a stream of `length` items, float64 on the CPU."""
        with torch.device("cpu"):
            return pairing(
                self.delay,
                self.order,
                length,
                kernel=self.kernel,
                readout=self.readout,
                error=self.error,
                carry=self.carry,
                taps=self.taps,
            )


class Clock:
    """The time step and the stream of each row of a batch; all layers of a model share one clock.

    Attributes:
        streams: number of independent streams of equal length in a batch, one after another.
        similarity: whether backward passes compare updates with the true gradient.
        warn: gives each warning about the model once.
    """

    def __init__(self, streams: int = 1, similarity: bool = False) -> None:
        self.streams, self.similarity, self.warn = streams, similarity, WarnOnce()
        self._seen: tuple[int, str] | None = None
        self._kept: tuple[Tensor, Tensor | None, int] | None = None
        self._pairings: dict[tuple[Trace, int, torch.device, torch.dtype], Pairing] = {}

    def keep(self, times: Tensor, stream: Tensor | None = None, *, length: int) -> None:
        """From now on batches contain only some time steps of each stream.

        Args:
            times: time step of each row, integers in [0, length), shape (m,).
            stream: number of the stream of each row, shape (m,); None if there is only one.
            length: items B of a whole stream.
        """
        self._kept = times, stream, length

    def keep_all(self) -> None:
        """From now on batches contain whole streams, time steps 0..B-1; this is the default."""
        self._kept = None

    def begin(self, model: nn.Module, args: Any) -> None:
        """Called before each forward pass of the model."""
        self._seen = None

    def check(self, rows: int, name: str, trace: Trace) -> None:
        """Checks that the rows of a layer's input can be time steps, and warns if they are too few.

        Args:
            rows: size of dimension 0 of the input of the layer `name`.
            trace: of the layer; with delay 0 nothing depends on time, and nothing is checked.
        Raises:
            UsageError: if another layer got another number of rows in this forward pass.
        """
        if trace.delay == 0:
            return
        if self._seen is not None and self._seen[0] != rows:
            raise UsageError(
                f"layer `{name}` got {rows} rows, and `{self._seen[1]}` got {self._seen[0]}",
                where="convert",
                expected="time, and only time, in dimension 0 of every layer's input",
                hint="leave the layers behind a reshape that folds time to back-propagation: "
                "per_layer={'NAME': {'delay': 0}}",
            )
        self._seen = rows, name
        lost = trace.taps is None and not trace.carry
        if self._kept is None and lost and rows // self.streams <= trace.delay:
            self.warn(
                "too short",
                f"a stream of {rows // self.streams} steps is over before an error that comes "
                f"{trace.delay} steps late (layer `{name}`): nothing is learnt from it",
            )

    def pairing(self, trace: Trace, rows: int, like: Tensor) -> Pairing:
        """The pairing for a batch of `rows` rows, on the device and in the dtype of `like`.

        Raises:
            UsageError: if the number of rows is not that of `keep` or no multiple of the number of
                streams, or if only some time steps are kept in carry mode.
        """
        if self._kept is not None:
            times, stream, length = self._kept
            if trace.carry:
                raise UsageError(
                    "carry mode needs every time step of a stream",
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
        found = self._pairings.pop(key, None)
        if found is None:
            found = trace.pairing(length).to(like.device, like.dtype)
            if len(self._pairings) == _PAIRINGS:
                del self._pairings[next(iter(self._pairings))]
        self._pairings[key] = found
        return found
