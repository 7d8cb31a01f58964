"""The run's splits of an image set: class sizes, validation items and normalisation by config."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weft.data.images import ImageHeader, ImageSet, image_header, load_images
from weft.data.random import derive
from weft.data.source import DataSpec, Field, Splits
from weft.errors import ConfigError, DataError
from weft.families.cet.config import Config
from weft.families.cet.sets.stream import Norm, StreamSource

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2023, 0.1994, 0.2010)


def normalisation(images: Tensor, dataset: str) -> Norm:
    """The paper's normalisation of images.

    Pixels are scaled and shifted so that those of the training set have a given mean and standard
    deviation: on cifar10 the usual values of each channel, on other sets 0.5 and 0.5.

    Args:
        images: the training set, uint8 (N, C, H, W).
        dataset: its name or path.

    Raises:
        DataError: if all bytes are equal, so that their deviation is 0.
    """
    values = torch.arange(256, dtype=torch.float64, device=images.device)
    share = torch.bincount(images.flatten(), minlength=256).double() / images.numel()
    mean = (share * values).sum()
    std = (share * (values - mean).square()).sum().sqrt()
    if not std:
        raise DataError(
            "all pixels of the training pictures are the same",
            where=dataset,
            expected="pictures that differ",
        )
    new_mean: tuple[float, ...] = (0.5,)
    new_std: tuple[float, ...] = (0.5,)
    if dataset == "cifar10":
        new_mean, new_std = CIFAR10_MEAN, CIFAR10_STD
    scale = torch.tensor(new_std, dtype=torch.float64, device=images.device) / std
    shift = torch.tensor(new_mean, dtype=torch.float64, device=images.device) - mean * scale
    return Norm(scale.float().view(-1, 1, 1), shift.float().view(-1, 1, 1))


def class_sizes(counts: Sequence[int], config: Config) -> tuple[list[int], list[int]]:
    """Training and validation items per class, from the training set's items per class.

    Empty classes stay empty; with `data.balance`, the others are cut to the size of the smallest.
    """
    most = min(n for n in counts if n) if config.data.balance else max(counts)
    used = [min(n, most) for n in counts]
    # Whole runs of one class are held out, so that no run is divided between the splits.
    run = config.data.n_groups
    held = [n // 10 // run * run if config.data.use_val else 0 for n in used]
    return [n - v for n, v in zip(used, held, strict=True)], held


def data_spec(config: Config) -> DataSpec:
    """Shapes and sizes of the run's data, from headers only.

    Raises:
        ConfigError: if an epoch has no whole batch.
    """
    header = _header(config)
    if sum(count > 0 for count in header.class_counts) < 2:
        raise DataError(
            "all training items are of one class: there is nothing to tell apart",
            where=config.data.dataset,
            expected="items of two classes or more",
        )
    train, val = class_sizes(header.class_counts, config)
    run = config.data.n_groups
    usable = sum(n // run * run for n in train)
    batch = config.streams * config.items_per_stream
    if usable < batch:
        raise ConfigError(
            f"a batch of {config.streams} x {config.items_per_stream} items is more than the "
            f"{usable} training items of `{config.data.dataset}`",
            where="batch_size, streams",
            expected=f"streams x batch_size / interp_factor <= {usable}",
        )
    soft = config.data.interp_factor > 1
    return DataSpec(
        fields={
            "image": Field(header.shape),
            "label": Field((header.num_classes,)) if soft else Field((), torch.int64),
        },
        batch_shape=(config.streams, config.batch_size),
        batches_per_epoch=usable // batch,
        sizes={"train": sum(train), "val": sum(val), "test": header.sizes.get("test", 0)},
        num_classes=header.num_classes,
    )


def load_splits(config: Config) -> Splits[StreamSource]:
    """The run's sources; the test set is normalised with the training set's statistics."""
    header = _header(config)
    train = _read(config, "train")
    norm = normalisation(train.images, config.data.dataset)
    kept, held = _split(train.labels, header.num_classes, config)
    flip = config.data.flip
    if flip == "auto":
        flip = config.arch == "cnn" and config.data.dataset == "cifar10"

    def source(images: ImageSet, *, flip: bool = False) -> StreamSource:
        return StreamSource(
            images.images,
            images.labels,
            norm,
            header.num_classes,
            streams=config.streams,
            length=config.items_per_stream,
            n_groups=config.data.n_groups,
            interp_factor=config.data.interp_factor,
            ordered=config.data.ordered,
            flip=flip,
        )

    return Splits(
        train=source(_pick(train, kept), flip=flip),
        val=source(_pick(train, held)) if config.data.use_val else None,
        test=source(_read(config, "test")) if header.sizes.get("test", 0) else None,
    )


def _split(labels: Tensor, num_classes: int, config: Config) -> tuple[Tensor, Tensor]:
    """Indices of the training and of the held-out items, class by class, by the run's seed."""
    counts = torch.bincount(labels, minlength=num_classes).tolist()
    members = torch.split(labels.argsort(stable=True), counts)
    generator = torch.Generator().manual_seed(derive(config.seed, "held-out"))
    train, val = [], []
    for mine, keep, hold in zip(members, *class_sizes(counts, config), strict=True):
        used = mine[: keep + hold]
        used = used[torch.randperm(len(used), generator=generator)]
        train.append(used[:keep])
        val.append(used[keep:])
    return torch.cat(train).sort().values, torch.cat(val).sort().values


def _pick(images: ImageSet, indices: Tensor) -> ImageSet:
    return ImageSet(images.images[indices], images.labels[indices])


def _header(config: Config) -> ImageHeader:
    data = config.data
    return image_header(data.dataset, root=data.root, download=data.download, layout=data.layout)


def _read(config: Config, split: str) -> ImageSet:
    data = config.data
    return load_images(
        data.dataset, split, root=data.root, download=data.download, layout=data.layout
    )
