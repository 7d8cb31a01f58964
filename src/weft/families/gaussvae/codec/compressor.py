"""Compresses pictures to bytes with a trained model and the probability tables of its latents."""

# M, T pictures or tiles, L latents, h x w tile

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cached_property
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from weft.errors import DataError, UsageError
from weft.families.gaussvae.codec import container
from weft.families.gaussvae.codec.container import Header
from weft.families.gaussvae.codec.entropy import Tables
from weft.families.gaussvae.codec.tiles import Bytes, cut, join
from weft.families.gaussvae.score.refine import refine

HALVES = 2
"""Steps of the quantiser are in halves of a unit, the mean posterior deviation of a latent."""
USUAL_STEP = 4.0
"""Default step in units. Its noise, step^2 / 12, is about the variance 1 of training."""
BINS_A_HALF = 2
_BATCH = 64


class Network(Protocol):
    """The interface of a model: from pictures (N, 3, h, w) in [0, 1] to latents and back."""

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log variance (N, L)."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Pictures of latents (N, L), not clamped."""
        ...


class Compressor(nn.Module):
    """A model with the quantiser and the tables of its latents: all that encoder and decoder share.

    A latent is divided by its unit, the mean of its posterior deviation over training pictures, and
    rounded to multiples of a step. The tables count how often each value occurs in training.

    Args:
        network: a `Network`.
        tile: (h, w) of the pictures it was trained on.
        unit: (L,).
        counts: (L, F), see `Tables`.
    """

    tile_size: Tensor
    unit: Tensor
    counts: Tensor

    def __init__(
        self, network: nn.Module, tile: tuple[int, int], unit: Tensor, counts: Tensor
    ) -> None:
        super().__init__()
        self.network = network.eval()
        self.register_buffer("tile_size", torch.tensor(tile))
        self.register_buffer("unit", unit.double())
        self.register_buffer("counts", counts.to(torch.int32))

    @classmethod
    @torch.no_grad()
    def of(cls, network: nn.Module, pictures: Iterator[Tensor]) -> Compressor:
        """A compressor whose units and tables are those of training pictures.

        Args:
            network: a `Network`.
            pictures: batches (N, 3, h, w), uint8, at least one.

        Raises:
            UsageError: if the model's latents have no posterior deviations.
        """
        means, deviations, tile = [], [], (0, 0)
        code = cast(Network, network.eval())
        for batch in pictures:
            mean, log_variance = code.encode(batch / 255)
            if log_variance is None:
                raise UsageError(
                    "latents without a deviation have no unit to be quantised by",
                    expected="a model whose latents are sampled, trained with beta above 0",
                )
            means.append(mean.double().cpu())
            deviations.append((log_variance.double() / 2).exp().cpu())
            tile = (int(batch.shape[-2]), int(batch.shape[-1]))
        unit = torch.cat(deviations).mean(0)
        tables = Tables.of((torch.cat(means) / unit).numpy())
        return cls(network, tile, unit, torch.from_numpy(tables.counts))

    @property
    def tile(self) -> tuple[int, int]:
        """(h, w)."""
        height, width = self.tile_size.tolist()
        return height, width

    @cached_property
    def tables(self) -> Tables:
        """The probability tables of the latents."""
        return Tables(self.counts.numpy())

    @cached_property
    def key(self) -> bytes:
        """Eight bytes that identify it: the first ones of the checksum of all its numbers."""
        found = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            found.update(tensor.cpu().contiguous().numpy().tobytes())
        return found.digest()[:8]

    @property
    def code(self) -> Network:
        """The model."""
        return cast(Network, self.network)

    @cached_property
    def _exact(self) -> Network:
        """The model in float64, with the portable form of rendering."""
        exact: Any = deepcopy(self.network).double()
        if hasattr(exact, "form"):
            exact.form = "gemm"
        return cast(Network, exact)

    def latents(self, tiles: Bytes, refinement: int = 0) -> NDArray[np.float64]:
        """Latents (T, L) of tiles (T, h, w, 3), in units.

        Args:
            tiles: from `cut`.
            refinement: number of optimisation steps for each latent and its tile.
        """
        found = []
        with torch.no_grad():
            for chunk in _chunks(tiles):
                images = torch.from_numpy(chunk).permute(0, 3, 1, 2) / 255
                z = self.code.encode(images)[0]
                z = refine(self.code.decode, images, z, steps=refinement)
                found.append(z.double() / self.unit)
        return torch.cat(found).numpy()

    def pictures(self, units: NDArray[np.float64]) -> Bytes:
        """Tiles (T, h, w, 3) of latents (T, L) in units; the same bytes on any number of threads.

        Products are in float64, so that the order of summation decides the rounding to a byte only
        with negligible probability.
        """
        found = []
        with torch.no_grad(), _one_thread():
            for chunk in _chunks(units):
                z = torch.from_numpy(chunk) * self.unit
                images = self._exact.decode(z).clamp(0, 1)
                found.append((images * 255).round().byte().permute(0, 2, 3, 1))
        return torch.cat(found).numpy()

    def compress(
        self, picture: Bytes, *, halves: int = round(USUAL_STEP * HALVES), refinement: int = 0
    ) -> bytes:
        """The content of a .lat file.

        Args:
            picture: (H, W, 3).
            halves: the step, in halves of a unit, 1 to 255.
            refinement: see `latents`.

        Raises:
            UsageError: if the picture is too large for the format.
            MissingExtra: if the entropy coder is not installed.
        """
        height, width = picture.shape[:2]
        if not (0 < max(height, width) < 2**16 and height * width <= container.MOST_PIXELS):
            raise UsageError(
                f"a picture of {height} x {width} pixels",
                expected=f"sides below 65,536 and at most {container.MOST_PIXELS:,} pixels",
            )
        step = halves * BINS_A_HALF
        latents = self.latents(cut(picture, self.tile), refinement)
        payload = self.tables.encode(self.tables.quantised(latents, step), step)
        header = Header((height, width), self.tile, len(self.unit), halves, self.key)
        return container.pack(header, payload)

    def decompress(self, header: Header, payload: bytes, where: str = "") -> Bytes:
        """The picture (H, W, 3) of a .lat file.

        Args:
            header, payload: of the file, see `container`.
            where: name of the file in errors.

        Raises:
            DataError: if it was made with another model, or cannot be decoded.
            MissingExtra: if the entropy coder is not installed.
        """
        found = (header.model, header.tile, header.latent_dim)
        if found != (self.key, self.tile, len(self.unit)):
            raise DataError(
                "the picture was compressed with another model",
                where=where,
                expected=f"model {self.key.hex()}, as this one is",
                hint=f"found: model {header.model.hex()}",
            )
        step = header.step * BINS_A_HALF
        rows, columns = header.grid
        symbols = self.tables.decode(payload, rows * columns, step, where)
        tiles = self.pictures(self.tables.values(symbols, step))
        return join(tiles, header.grid, header.size)


def psnr(found: Bytes, wanted: Bytes) -> float:
    """10 log10(255^2 / mean squared error) of bytes; infinite for equal pictures."""
    error = np.square(found.astype(np.float64) - wanted).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def _chunks(values: NDArray[Any]) -> Sequence[NDArray[Any]]:
    return [values[start : start + _BATCH] for start in range(0, len(values), _BATCH)]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside this context torch uses one thread, as its sums may depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
