"""Classification sets of the UEA/UCR archive, and synthetic stand-ins with the same shapes."""

# N series, T steps of the longest, d channels

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weft.data import fetch
from weft.data.catalog.sets import SETS
from weft.data.random import derive
from weft.data.series import SeriesSet, find_file, load_series, matched, read_ts
from weft.data.source import Batch
from weft.families.warp.config import Config
from weft.families.warp.sets.source import Header, Parts, extremes, identity


@dataclass(frozen=True)
class Shape:
    """The sizes of a set of the archive: series, channels, steps, classes."""

    train: int
    test: int
    steps: int
    channels: int
    classes: int


#: Sets of the literature with a stand-in `NAME-shaped`, with the archive's sizes.
SHAPES = {
    "EigenWorms": Shape(128, 131, 17_984, 6, 5),
    "SelfRegulationSCP1": Shape(268, 293, 896, 6, 2),
    "SelfRegulationSCP2": Shape(200, 180, 1_152, 7, 2),
    "EthanolConcentration": Shape(261, 263, 1_751, 3, 4),
    "Heartbeat": Shape(204, 205, 405, 61, 2),
    "MotorImagery": Shape(278, 100, 3_000, 64, 2),
}
_STAND_IN, _POOLED = "-shaped", "-pooled"


def right_aligned(found: SeriesSet, steps: int) -> Batch:
    """Series as one tensor, each ending at step T - 1 with its first value repeated in front.

    Args:
        found: the series; those longer than `steps` are cut at their end.
        steps: T.
    Returns: "x" float32 (N, T, d) and "label"; "length" int64 (N,) too, the true steps of each.
    """
    x = np.empty((len(found), steps, found.channels), np.float32)
    lengths = np.empty(len(found), np.int64)
    for row, one in enumerate(found.series):
        kept = one[:steps]
        lengths[row] = len(kept)
        x[row, steps - len(kept) :] = kept
        x[row, : steps - len(kept)] = kept[0]
    return {
        "x": torch.from_numpy(x),
        "label": torch.from_numpy(found.labels),
        "length": torch.from_numpy(lengths),
    }


def stand_in(
    labels: Tensor, steps: int, channels: int, generator: torch.Generator, *, classes: int
) -> Tensor:
    """Synthetic noisy oscillations whose frequency determines the class.

    Args:
        labels: int64 (N,).
        steps, channels: T and d.
        generator: draws phases and noise.
        classes: number of classes.
    Returns: float32 (N, T, d).
    """
    size = len(labels)
    times = torch.linspace(0, 1, steps)[:, None]
    turns = 4 + 16 * labels[:, None, None] / classes
    phase = torch.rand(size, 1, channels, generator=generator)
    weight = torch.randn(size, 1, channels, generator=generator)
    noise = torch.randn(size, steps, channels, generator=generator)
    return noise.mul_(0.5).add_(weight * torch.sin(2 * torch.pi * (turns * times + phase)))


def header(config: Config) -> Header:
    """The set named by `data.subset`, from the catalogue if it is in it.

    `NAME-shaped` is a stand-in; `NAME-pooled` splits all series again, as the literature does.

    Raises:
        DataError: if it is missing.
    """
    data, name = config.data, _name(config)
    if shape := _shape(name):
        sizes = {"train": shape.train, "test": shape.test}
        if not _is_pooled(config):
            sizes |= {"train": data.train_size or shape.train, "test": data.test_size or shape.test}
        steps, channels, classes, ragged = shape.steps, shape.channels, shape.classes, False
    elif name in _catalogued():
        place = fetch.expect(name, root=data.root, download=data.download)
        known = place.data_set
        sizes, (steps, channels) = dict(known.sizes), known.shape
        classes, ragged = len(known.classes), known.ragged
    else:
        found = _series(config)
        sizes = {split: len(one) for split, one in found.items()}
        steps = max(one.steps for one in found.values())
        channels, classes = found["train"].channels, len(found["train"].classes)
        ragged = any(one.ragged or one.steps != steps for one in found.values())
    steps = min(steps, data.sequence_length or steps)
    if _is_pooled(config):
        sizes = pooled_sizes(sum(sizes.values()))
    return Header(steps, channels, sizes, num_classes=classes, ragged=ragged)


def load(config: Config) -> Parts:
    """The series of every part; channels have their own units unless `data.normalize` is set."""
    about = header(config)
    fit = extremes(positive=config.unit_normalise) if config.data.normalize else identity
    if shape := _shape(_name(config)):
        splits = {split: _invented(config, split, about, shape) for split in ("train", "test")}
    else:
        found = _series(config)
        splits = {split: right_aligned(one, about.steps) for split, one in found.items()}
    if not about.ragged:
        splits = {
            split: {name: part[name] for name in ("x", "label")} for split, part in splits.items()
        }
    if not _is_pooled(config):
        return Parts(splits["train"], splits["test"], fit=fit)
    every = {name: torch.cat([part[name] for part in splits.values()]) for name in splits["train"]}
    generator = torch.Generator().manual_seed(derive(config.data.seed, "pooled"))
    order = torch.randperm(len(every["x"]), generator=generator)
    train, val, test = (
        {name: tensor[rows] for name, tensor in every.items()}
        for rows in torch.split(order, list(about.sizes.values()))
    )
    return Parts(train, test, val, fit)


def pooled_sizes(size: int) -> dict[str, int]:
    """Parts of 70, 15 and 15 per cent."""
    held = round(0.15 * size)
    return {"train": size - 2 * held, "val": held, "test": held}


def _name(config: Config) -> str:
    return str(config.data.subset).removesuffix(_POOLED)


def _is_pooled(config: Config) -> bool:
    return str(config.data.subset).endswith(_POOLED)


def _catalogued() -> list[str]:
    """The labelled series of the catalogue."""
    return [one.name for one in SETS.values() if one.kind == "series" and one.classes]


def _shape(name: str) -> Shape | None:
    return SHAPES.get(name.removesuffix(_STAND_IN)) if name.endswith(_STAND_IN) else None


def _series(config: Config) -> dict[str, SeriesSet]:
    """Both parts of a set, with the same meaning of labels in both."""
    found = {split: _read(config, split) for split in ("train", "test")}
    return matched(found, _name(config), pooled=_is_pooled(config))


def _invented(config: Config, split: str, about: Header, shape: Shape) -> Batch:
    official = shape.train if split == "train" else shape.test
    size = official if _is_pooled(config) else about.sizes[split]
    generator = torch.Generator().manual_seed(derive(config.data.seed, "stand-in", split))
    labels = torch.arange(size) % about.num_classes
    x = stand_in(labels, about.steps, about.channels, generator, classes=about.num_classes)
    return {"x": x, "label": labels}


def _read(config: Config, split: str) -> SeriesSet:
    """A split of a set of the catalogue, verified, or of any `.ts` files of that name."""
    data, name = config.data, _name(config)
    if name in _catalogued():
        return load_series(name, split, root=data.root, download=data.download)
    file = f"{name}_{split.upper()}.ts"
    known = ", ".join(_catalogued())
    absent = ", ".join(f"{shaped}{_STAND_IN}" for shaped in SHAPES)
    return read_ts(
        find_file(
            (f"ts/{name}/{file}", f"{name}/{file}", file),
            root=data.root,
            expected=f"a file of the archive (the catalogue has {known}), or a stand-in: {absent}",
        )
    )
