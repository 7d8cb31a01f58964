"""Pictures as sequences of their pixels, row by row."""

# N pictures, H x W pixels, C colours

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weft.data.images import has_labels, image_header, load_images, load_pixels
from weft.data.source import Batch
from weft.families.warp.config import Config
from weft.families.warp.sets.source import Header, Parts, Scale


def as_sequence(images: Tensor, downsample: int) -> Tensor:
    """Every n-th row and column of pictures (N, C, H, W), as (N, H' W', C), row by row."""
    kept = images[:, :, ::downsample, ::downsample]
    return kept.flatten(2).transpose(1, 2).contiguous()


def bytes_to(config: Config) -> Callable[[Tensor], Scale]:
    """The scale of pictures, the same for all: 0..255 to [-1, 1], or to [0, 1]."""
    scale = Scale.between(torch.zeros(()), torch.tensor(255.0), positive=config.unit_normalise)
    return lambda raw: scale


def header(config: Config) -> Header:
    """The set's pictures, every n-th row and column of them."""
    data = config.data
    # Where no label is learnt they serve to hold out each class in proportion, if there are any.
    found = image_header(
        data.dataset, root=data.root, download=data.download, layout=data.layout,
        labelled=config.classifies or has_labels(data.dataset, root=data.root),
    )  # fmt: skip
    channels, *sides = found.shape
    height, width = (-(-side // data.downsample_factor) for side in sides)
    return Header(
        steps=height * width,
        channels=channels,
        sizes={split: found.sizes.get(split, 0) for split in ("train", "test")}
        | ({"val": found.sizes["val"]} if "val" in found.sizes else {}),
        num_classes=found.num_classes,
        canvas=(height, width),
    )


def load(config: Config) -> Parts:
    """The pictures as bytes."""
    data, about = config.data, header(config)
    splits: dict[str, Batch] = {}
    for split, size in about.sizes.items():
        if not size:
            continue
        if about.num_classes:
            found = load_images(
                data.dataset, split, root=data.root, download=data.download, layout=data.layout
            )
            images, labels = found.images, {"label": found.labels}
        else:
            labels = {}
            images = load_pixels(
                data.dataset, split, root=data.root, download=data.download, layout=data.layout
            )
        splits[split] = {"x": as_sequence(images, data.downsample_factor), **labels}
    return Parts(splits["train"], splits.get("test"), splits.get("val"), bytes_to(config))
