"""A source of sequences: raw values in memory, which are scaled when a batch is taken."""

# N items, T steps, d channels

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from weft.data.source import Batch, DataSpec, TensorSource


@dataclass(frozen=True)
class Scale:
    """The affine map value = (raw - centre) / unit, and back.

    Args:
        centre, unit: float32, of shapes that broadcast against (T, d).
    """

    centre: Tensor
    unit: Tensor

    def __call__(self, raw: Tensor) -> Tensor:
        """Raw values (..., T, d), bytes or float32, scaled for the model, float32."""
        return (raw - self.centre) / self.unit

    def undo(self, values: Tensor) -> Tensor:
        """Values of the model, (..., T, d), in the data's own units."""
        return values * self.unit + self.centre

    def to(self, device: torch.device) -> Scale:
        """The same map on `device`."""
        return Scale(self.centre.to(device), self.unit.to(device))

    @staticmethod
    def between(low: Tensor, high: Tensor, *, positive: bool) -> Scale:
        """Maps [low, high] to [-1, 1], or to [0, 1] if `positive`; constant channels to 0."""
        low, high = low.double(), high.double()
        spread = torch.where(high > low, high - low, 1.0)
        if positive:
            return Scale(low.float(), spread.float())
        return Scale(((low + high) / 2).float(), (spread / 2).float())


def identity(raw: Tensor) -> Scale:
    """The scale that does not change values."""
    return Scale(torch.zeros(()), torch.ones(()))


def extremes(*, positive: bool) -> Callable[[Tensor], Scale]:
    """Fits to raw sequences (N, T, d) the scale of each channel's extremes; see `Scale.between`."""

    def fit(raw: Tensor) -> Scale:
        # Over both dimensions at once: flattening would copy overlapping windows.
        return Scale.between(raw.amin((0, 1)), raw.amax((0, 1)), positive=positive)

    return fit


@dataclass(frozen=True)
class Header:
    """The shapes and sizes of a set, known before its sequences are read or generated.

    Attributes:
        steps: T.
        channels: d.
        sizes: number of sequences in "train" and "test", and in "val" if the set has its own.
        outputs: channels of the target, if it is another sequence than the input; else None.
        num_classes: number of classes, or 0 without labels.
        ragged: whether lengths of sequences differ.
        context: number of first steps that the problem itself gives at inference, or None.
        canvas: (height, width) of the picture whose pixels are the steps, row by row.
    """

    steps: int
    channels: int
    sizes: dict[str, int]
    outputs: int | None = None
    num_classes: int = 0
    ragged: bool = False
    context: int | None = None
    canvas: tuple[int, int] | None = None


@dataclass(frozen=True)
class Parts:
    """A set in its own units, before validation items are held out.

    Attributes:
        train, test: batch entry -> items; "x" and "target" are bytes or float32; test may be None.
        val: the set's own validation items, or None.
        fit: computes the scale from raw training sequences "x" (or "target", if there is one).
        past: if set, the input has the true values of this many steps and then repeats the last of
            them, and the whole sequence is the target.
    """

    train: Batch
    test: Batch | None
    val: Batch | None = None
    fit: Callable[[Tensor], Scale] = identity
    past: int | None = None


@dataclass(frozen=True)
class SeriesSpec(DataSpec):
    """Shapes and sizes of the sequences, known without reading them. In addition to `DataSpec`:

    Attributes:
        context: number of first steps that the problem itself gives at inference, or None.
        canvas: (height, width) of the picture whose pixels are the steps, or None.
    """

    context: int | None = None
    canvas: tuple[int, int] | None = None

    @property
    def steps(self) -> int:
        """T, the length of the longest sequence."""
        return self.fields["x"].shape[0]

    @property
    def channels(self) -> int:
        """d, channels of the input."""
        return self.fields["x"].shape[1]

    @property
    def outputs(self) -> int:
        """Channels of the target."""
        return self.fields.get("target", self.fields["x"]).shape[1]

    @property
    def ragged(self) -> bool:
        """Whether lengths of sequences differ; they are then right-aligned."""
        return "length" in self.fields

    @property
    def times(self) -> Tensor:
        """t_k = k / (T - 1), shape (T,), float32."""
        return torch.linspace(0, 1, self.steps)


@dataclass(frozen=True)
class SeriesSource(TensorSource):
    """Sequences stored raw, so that pixels stay bytes and overlapping windows stay views.

    Batches have "x" float32 (N, T, d); "target" likewise if it is not the input; "label" and
    "length" int64 (N,). Sequences shorter than T end at step T - 1; before them their first value
    is repeated.

    Args:
        fields, batch_size: as in `TensorSource`.
        scale: of "x" and "target".
        past: see `Parts`.
    """

    scale: Scale
    past: int | None = None

    def take(self, indices: Tensor, generator: torch.Generator) -> Batch:
        """The items at `indices`, scaled."""
        return self._scaled(super().take(indices, generator))

    def batches(self, size: int) -> Iterator[Batch]:
        """All items in order, scaled."""
        return map(self._scaled, super().batches(size))

    def to(self, device: torch.device) -> SeriesSource:
        """The same items on `device`."""
        fields = {name: tensor.to(device) for name, tensor in self.fields.items()}
        return replace(self, fields=fields, scale=self.scale.to(device))

    def unscale(self, values: Tensor) -> Tensor:
        """Targets or predictions (..., T, d_out) in the data's own units."""
        return self.scale.undo(values)

    def _scaled(self, batch: Batch) -> Batch:
        values: Batch = {
            name: self.scale(tensor) for name, tensor in batch.items() if name in ("x", "target")
        }
        if self.past is not None:
            x = values["x"]
            last = x[..., self.past - 1 : self.past, :]
            rest = last.expand(*x.shape[:-2], x.shape[-2] - self.past, -1)
            values = {"x": torch.cat((x[..., : self.past, :], rest), -2), "target": x}
        return {**batch, **values}
