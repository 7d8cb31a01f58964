"""The run's splat sets: read, brought into one layout and order, split by the seed."""

# M pictures, N splats, H x W pixels

from __future__ import annotations

from collections.abc import Mapping
from os.path import isdir
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weft.data.own import places
from weft.data.random import derive
from weft.data.source import DataSpec, Field, Splits
from weft.errors import ConfigError, DataError
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.options.sections import DRAWN
from weft.families.gaussvae.options.sizes import COLUMNS
from weft.families.gaussvae.sets.drawn import drawn
from weft.families.gaussvae.sets.packed_source import Meaning, SplatSource
from weft.families.gaussvae.splats.curves import order
from weft.families.gaussvae.splats.geometry import to_logcov, to_rs
from weft.families.gaussvae.splats.packed import Packed, read_packed

_EXPECTED = "drawn, or a folder of splats as `weft data fit` writes it"


def data_spec(config: Config) -> DataSpec:
    """Shapes and sizes of the run's data; of splats on disk, only their description is read.

    Raises:
        ConfigError: a batch is more than all training pictures.
        DataError: there are no such splats.
    """
    packed = _read(config, config.data.dataset, verify=False)
    splats, size = packed.splats.shape[1], meaning(packed).size
    counts = _sizes(config, len(packed))
    if counts["train"] < config.batch_size:
        raise ConfigError(
            f"a batch of {config.batch_size} is more than the {counts['train']} training pictures",
            where="batch_size, data.held_out",
            expected=f"batch_size <= {counts['train']}",
        )
    fields = {"splats": Field((splats, COLUMNS))}
    if packed.images is not None:
        fields["image"] = Field((3, *size), torch.uint8)
    return DataSpec(
        fields, (config.batch_size,), counts["train"] // config.batch_size, sizes=counts
    )


def load_splits(config: Config) -> Splits[SplatSource]:
    """The run's sources."""
    packed = _read(config, config.data.dataset)
    total = _total(config, packed)
    splats = _prepared(torch.from_numpy(np.array(packed.splats[:total])), packed, config)
    tensors: dict[str, Tensor] = {"splats": splats}
    if packed.images is not None:
        tensors["image"] = torch.from_numpy(np.array(packed.images[:total]))
    generator = torch.Generator().manual_seed(derive(config.seed, "held-out"))
    shuffled = torch.randperm(total, generator=generator)
    counts = _sizes(config, len(packed))
    first, second = counts["val"], counts["val"] + counts["test"]
    train = shuffled[second:].sort().values
    centre, means = splats[train].mean(0), meaning(packed)

    def source(picked: Tensor) -> SplatSource:
        fields: Mapping[str, Tensor] = {name: t[picked] for name, t in tensors.items()}
        return SplatSource(fields, config.batch_size, means, centre)

    return Splits(
        source(train),
        source(shuffled[:first].sort().values),
        source(shuffled[first:second].sort().values),
    )


def data_meaning(config: Config) -> Meaning:
    """What the numbers of the run's splats mean."""
    return meaning(_read(config, config.data.dataset, verify=False))


def meaning(packed: Packed) -> Meaning:
    """What the numbers of a set mean, whose pictures are of one size.

    Raises:
        DataError: they are not.
    """
    if packed.size is None:
        raise DataError(
            "the pictures of this set differ in size", where="data.dataset",
            expected="splats of pictures of one size", hint="`weft data fit` can cut them alike",
        )  # fmt: skip
    return Meaning(packed.size, packed.sampling, packed.blend, packed.cells)


def _prepared(splats: Tensor, packed: Packed, config: Config) -> Tensor:
    """Splats (M, N, 8) in the run's layout and order."""
    wanted = config.data.layout
    if wanted != packed.layout:
        splats = to_logcov(splats) if wanted == "logcov" else to_rs(splats)
    if config.data.order == "kept":
        return splats
    return splats.take_along_dim(order(splats, config.data.order)[..., None], 1)


def _total(config: Config, packed: Packed) -> int:
    return min(len(packed), config.data.items or len(packed))


def _sizes(config: Config, items: int) -> dict[str, int]:
    """Pictures of each split; at least one is held out twice."""
    total = min(items, config.data.items or items)
    held = max(1, round(config.data.held_out * total))
    return {"train": total - 2 * held, "val": held, "test": held}


def _read(config: Config, dataset: str, *, verify: bool = True) -> Packed:
    """The splats called `dataset`."""
    if dataset == DRAWN:
        return drawn()
    looked = places(dataset, config.data.root)
    for path in looked:
        if isdir(path):
            return read_packed(Path(path), verify=verify)
    raise DataError(
        f"there is no folder `{dataset}`",
        where="data.dataset",
        expected=_EXPECTED,
        hint="\n".join(("looked for as", *(f"  {path}" for path in looked))),
    )
