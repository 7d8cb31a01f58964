"""Pictures for arch=image: of an image set, or those of splats, stored or rendered."""

# M pictures, N splats, H x W pixels

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from weft.config.paths import is_npz
from weft.data.catalog.images import IMAGES
from weft.data.images import ImageHeader, image_header, load_pixels
from weft.data.random import derive
from weft.data.source import DataSpec, Field, Splits, TensorSource
from weft.errors import ConfigError
from weft.families.gaussvae.config import Config
from weft.families.gaussvae.data import data_meaning, load_splits, rendered
from weft.families.gaussvae.data import data_spec as splat_spec
from weft.families.gaussvae.sets.packed_source import Meaning

_CHUNK = 64


def picture_spec(config: Config) -> DataSpec:
    """Shapes and sizes of the run's pictures, from headers only.

    Raises:
        ConfigError: if pictures are not in colour, or a batch is larger than the set.
    """
    if not _is_image_set(config):
        found = splat_spec(config)
        shape = (3, *data_meaning(config).size)
        return DataSpec(
            {"image": Field(shape, torch.uint8)},
            found.batch_shape,
            found.batches_per_epoch,
            found.sizes,
        )
    data = config.data
    header = _header(config)
    if header.shape[0] != 3:
        raise ConfigError(
            f"the pictures of `{data.dataset}` have {header.shape[0]} channel(s), splats have "
            "three colours",
            where="data.dataset",
            expected="a set of pictures in colour, such as cifar10",
        )
    total = min(header.sizes["train"], data.items or header.sizes["train"])
    held = _held(config, total)
    if total - held < config.batch_size:
        raise ConfigError(
            f"a batch of {config.batch_size} is more than the {total - held} training pictures",
            where="batch_size, data.held_out",
            expected=f"batch_size <= {total - held}",
        )
    return DataSpec(
        {"image": Field(header.shape, torch.uint8)},
        (config.batch_size,),
        (total - held) // config.batch_size,
        {"train": total - held, "val": held, "test": header.sizes.get("test", 0)},
    )


def load_pictures(config: Config) -> Splits[TensorSource]:
    """The run's sources of `image`, uint8 (M, 3, H, W); validation is held out by the seed."""
    if not _is_image_set(config):
        splits, meaning = load_splits(config), data_meaning(config)
        parts = (
            None if source is None else _seen(source.fields, config, meaning)
            for source in (splits.train, splits.val, splits.test)
        )
        train, val, test = (None if images is None else _source(images, config) for images in parts)
        assert train is not None
        return Splits(train, val, test)
    data = config.data
    images = load_pixels(data.dataset, "train", root=data.root, download=data.download)
    images = images[: data.items]
    generator = torch.Generator().manual_seed(derive(config.seed, "held-out"))
    shuffled = torch.randperm(len(images), generator=generator)
    held = _held(config, len(images))
    test = None
    if _header(config).sizes.get("test", 0):
        tested = load_pixels(data.dataset, "test", root=data.root, download=data.download)
        test = _source(tested, config)
    return Splits(
        _source(images[shuffled[held:].sort().values], config),
        _source(images[shuffled[:held].sort().values], config),
        test,
    )


def _is_image_set(config: Config) -> bool:
    return is_npz(config.data.dataset) or any(known.name == config.data.dataset for known in IMAGES)


def _header(config: Config) -> ImageHeader:
    data = config.data
    return image_header(data.dataset, root=data.root, download=data.download, labelled=False)


def _held(config: Config, total: int) -> int:
    return max(1, round(config.data.held_out * total))


def _source(images: Tensor, config: Config) -> TensorSource:
    return TensorSource({"image": images}, config.batch_size)


def _seen(fields: Mapping[str, Tensor], config: Config, meaning: Meaning) -> Tensor:
    """The pictures stored with splats, or else the rendered splats, as bytes."""
    if "image" in fields:
        return fields["image"]
    shown = [rendered(splats, meaning, config) for splats in fields["splats"].split(_CHUNK)]
    return (torch.cat(shown).clamp(0, 1) * 255).round().to(torch.uint8)
