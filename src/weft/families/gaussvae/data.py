"""The run's splat sets: read, brought into one layout and order, split by the seed."""

# M pictures, N splats, H x W pixels

from __future__ import annotations

from dataclasses import dataclass
from os.path import isdir
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from weft.data.fetch import looked_for
from weft.data.guard import unreadable
from weft.data.own import own_file, places
from weft.data.random import derive
from weft.data.source import DataSpec, Field, Splits
from weft.errors import ConfigError, DataError
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.options.sections import DRAWN
from weft.families.gaussvae.options.sizes import COLUMNS
from weft.families.gaussvae.sets.drawn import COUNT, drawn, side_of
from weft.families.gaussvae.sets.folder import files, read_folder
from weft.families.gaussvae.sets.packed_source import Meaning, SplatSource
from weft.families.gaussvae.splats.anchored import grid
from weft.families.gaussvae.splats.curves import order
from weft.families.gaussvae.splats.geometry import to_logcov, to_rs
from weft.families.gaussvae.splats.packed import Packed, read_packed
from weft.families.gaussvae.splats.rasterise import render
from weft.families.gaussvae.splats.statistics import read_statistics, statistics


@dataclass(frozen=True)
class Outline:
    """The description of a splat set, known before it is read.

    Attributes:
        items: M.
        splats: N.
        meaning: of its numbers.
        has_images: whether the pictures are stored with their splats.
    """

    items: int
    splats: int
    meaning: Meaning
    has_images: bool


def outline(config: Config) -> Outline:
    """The description of the run's splats; of a set on disk nothing else is read.

    Raises:
        DataError: if there are none, or their pictures differ in size.
    """
    data = config.data
    most = data.items or COUNT
    if data.dataset == DRAWN:
        side, splats = side_of(data.splats), data.splats
        meaning = Meaning((side, side), cells=grid(splats, side, side))
        return Outline(min(COUNT, most), splats, meaning, True)
    return _outline(_path(config, data.dataset), config)


def _outline(folder: Path, config: Config) -> Outline:
    """The description of the splats in a folder; if it has a file per picture, of the first."""
    separate = _separate(folder)
    packed = (
        read_folder(folder, config.data.size, 1) if separate else read_packed(folder, verify=False)
    )
    items = len(files(folder)) if separate else len(packed)
    return Outline(
        min(items, config.data.items or items),
        packed.splats.shape[1],
        _meaning(packed),
        packed.images is not None,
    )


def data_meaning(config: Config) -> Meaning:
    """The meaning of the numbers of the run's splats."""
    return outline(config).meaning


def rendered(splats: Tensor, meaning: Meaning, config: Config) -> Tensor:
    """Raw splats (B, N, 8) of the run's layout as pictures (B, 3, H, W)."""
    return render(
        splats,
        *meaning.size,
        layout=config.data.layout,
        blend=config.render.blend or meaning.blend,
        sampling=meaning.sampling,
        form=config.render.form,
    )


def data_spec(config: Config) -> DataSpec:
    """Shapes and sizes of the run's data, from headers only.

    Raises:
        ConfigError: if a batch is larger than the training set.
        DataError: if the splats do not exist.
    """
    known, held = outline(config), _held_out(config)
    sizes = {name: held for name in ("val", "test")}
    for split, folder in (("val", config.data.val), ("test", config.data.test)):
        if folder is not None:
            sizes[split] = _outline(_path(config, folder), config).items
    cut = held * [config.data.val, config.data.test].count(None)
    sizes["train"] = known.items - cut
    if sizes["train"] < config.batch_size:
        raise ConfigError(
            f"a batch of {config.batch_size} is more than the {sizes['train']} training pictures",
            where="batch_size, data.held_out",
            expected=f"batch_size <= {sizes['train']}",
        )
    fields = {"splats": Field((known.splats, COLUMNS))}
    if known.has_images:
        fields["image"] = Field((3, *known.meaning.size), torch.uint8)
    batches = sizes["train"] // config.batch_size
    return DataSpec(fields, (config.batch_size,), batches, sizes=sizes)


def load_splits(config: Config) -> Splits[SplatSource]:
    """The run's sources.

    Raises:
        DataError: if splats are missing, damaged, or of another form than the training set's.
    """
    data, known = config.data, outline(config)
    if data.dataset == DRAWN:
        packed = drawn(data.splats, known.items)
    else:
        packed = _read(_path(config, data.dataset), config)
    tensors = _tensors(packed, known.items, config)
    generator = torch.Generator().manual_seed(derive(config.seed, "held-out"))
    shuffled = torch.randperm(known.items, generator=generator)
    held, cut = _held_out(config), 0
    picked = {}
    for split, folder in (("val", data.val), ("test", data.test)):
        if folder is None:
            picked[split], cut = shuffled[cut : cut + held].sort().values, cut + held
    train = shuffled[cut:].sort().values
    centre = tensors["splats"][train].mean(0)

    def source(fields: dict[str, Tensor]) -> SplatSource:
        return SplatSource(fields, config.batch_size, known.meaning, centre)

    def own(split: str, folder: str | None) -> SplatSource:
        if folder is None:
            return source({name: tensor[picked[split]] for name, tensor in tensors.items()})
        other = _read(_path(config, folder), config)
        if other.splats.shape[1] != known.splats or _meaning(other) != known.meaning:
            raise DataError(
                f"its splats are {other.splats.shape[1]} of {_meaning(other)}, those of the "
                f"training set {known.splats} of {known.meaning}",
                where=f"data.{split}",
                expected="splats fitted alike",
            )
        return source(_tensors(other, min(len(other), data.items or len(other)), config))

    return Splits(
        source({name: tensor[train] for name, tensor in tensors.items()}),
        own("val", data.val),
        own("test", data.test),
    )


def load_statistics(config: Config, splats: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation for z-scores: from the file `data.stats`, or of the training splats.

    Args:
        config: of the run.
        splats: of the training set, (M, N, 8).
    Returns: each (1, 8) or (N, 8).
    Raises:
        DataError: if the file is missing, damaged, or of another layout or shape.
    """
    data = config.data
    per_index = data.statistics == "index"
    if data.stats is None:
        found = statistics(splats.cpu().numpy(), data.layout, per_index=per_index)
    else:
        path = own_file(
            data.stats, root=data.root, expected="normalization_stats.npz", where="data.stats"
        )
        found = read_statistics(path)
        shape = (*splats.shape[1:2] * per_index, COLUMNS)
        if found.layout != data.layout or found.mean.shape != shape:
            wanted = f"`mean` and `std` {shape} of layout {data.layout}"
            raise unreadable(path, wanted, f"{found.mean.shape} of layout {found.layout}")
    mean, std = (torch.from_numpy(np.atleast_2d(each)) for each in (found.mean, found.std))
    return mean, std


def _tensors(packed: Packed, items: int, config: Config) -> dict[str, Tensor]:
    """`splats` in the run's layout and order, and `image` if pictures are stored."""
    splats = torch.from_numpy(np.array(packed.splats[:items]))
    if packed.layout != config.data.layout:
        splats = to_logcov(splats) if config.data.layout == "logcov" else to_rs(splats)
    if config.data.order != "kept":
        splats = splats.take_along_dim(order(splats, config.data.order)[..., None], 1)
    tensors = {"splats": splats}
    if packed.images is not None:
        tensors["image"] = torch.from_numpy(np.array(packed.images[:items]))
    return tensors


def _held_out(config: Config) -> int:
    """Number of pictures in one held-out part, at least one."""
    return max(1, round(config.data.held_out * outline(config).items))


def _meaning(packed: Packed) -> Meaning:
    if packed.size is None:
        raise DataError(
            "the pictures of this set differ in size",
            where="data.dataset",
            expected="splats of pictures of one size",
        )
    return Meaning(packed.size, packed.sampling, packed.blend, packed.cells)


def _path(config: Config, dataset: str) -> Path:
    """The path of the folder `dataset`."""
    looked = places(dataset, config.data.root)
    for path in looked:
        if isdir(path):
            return Path(path)
    raise DataError(
        f"there is no folder `{dataset}`",
        where="data.dataset",
        expected=f"{DRAWN}, or a folder of splats as `weft data fit` writes it",
        hint=looked_for(looked),
    )


def _separate(folder: Path) -> bool:
    """Whether the folder has a file per picture, and not one packed array."""
    return not (folder / "splats.json").is_file() and bool(files(folder))


def _read(folder: Path, config: Config) -> Packed:
    """The splats in a folder."""
    if _separate(folder):
        return read_folder(folder, config.data.size, config.data.items)
    return read_packed(folder)
