"""The run's splits: finds the set that is asked for, keeps a part of it, holds out, scales."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from weft.config.family import resolve
from weft.data.random import derive
from weft.data.source import Batch, Field, Splits
from weft.errors import ConfigError
from weft.families.warp.config import Config
from weft.families.warp.options.data_sets import DataSet, find
from weft.families.warp.sets.member import member
from weft.families.warp.sets.source import Header, Parts, SeriesSource, SeriesSpec


def data_spec(config: Config) -> SeriesSpec:
    """Shapes and sizes of the run's data; named sets are not opened.

    Raises:
        ConfigError: an epoch has no whole batch, or an option does not fit the set.
        DataError: a file is missing and will not be downloaded.
    """
    about = _header(config)
    train, val = _counts(config, about)
    if train < config.batch_size:
        raise ConfigError(
            f"a batch of {config.batch_size} is more than the {train} training sequences of "
            f"`{config.data.dataset}`",
            where="batch_size",
            expected=f"batch_size <= {train}",
        )
    fields = {"x": Field((about.steps, about.channels))}
    if about.outputs is not None:
        fields["target"] = Field((about.steps, about.outputs))
    if about.num_classes:
        fields["label"] = Field((), torch.int64)
    if about.ragged:
        fields["length"] = Field((), torch.int64)
    return SeriesSpec(
        fields=fields,
        batch_shape=(config.batch_size,),
        batches_per_epoch=train // config.batch_size,
        sizes={"train": train, "val": val, "test": _kept(about, "test", config.data.test_size)},
        num_classes=about.num_classes,
        context=about.context,
        canvas=about.canvas,
    )


def load_splits(config: Config) -> Splits[SeriesSource]:
    """The run's sources; the scale is that of the training part alone.

    What is kept and what is held out is a function of `data.seed`, so that runs with several
    seeds see the same splits.
    """
    about = _header(config)
    parts: Parts = resolve(f"{_set(config).file}:load")(config)
    size, held = _counts(config, about)
    kept = _cut(parts.train, size + (held if parts.val is None else 0), config, "train")
    val = parts.val
    if val is None and held:
        mask = torch.ones(size + held, dtype=torch.bool)
        mask[_held_out(kept, held, config)] = False
        kept, val = _pick(kept, mask.nonzero()[:, 0]), _pick(kept, (~mask).nonzero()[:, 0])
    test = parts.test
    if test is not None:
        test = _cut(test, _kept(about, "test", config.data.test_size), config, "test")

    width = None if _set(config).makes_channels else config.data.data_dim
    kept = _narrowed(kept, width)
    scale = parts.fit(kept.get("target", kept["x"]))

    def source(items: Batch) -> SeriesSource:
        return SeriesSource(_narrowed(items, width), config.batch_size, scale, parts.past)

    return Splits(
        train=source(kept),
        val=None if val is None else source(val),
        test=None if test is None else source(test),
    )


def _set(config: Config) -> DataSet:
    known = find(config.data.dataset)
    assert known is not None, "the config lets no other word pass"
    return known


def _header(config: Config) -> Header:
    """The set's header with `data_dim` applied, once all options are known to fit the set.

    Raises:
        ConfigError: one does not.
    """
    data, known = config.data, _set(config)
    if not known.members:
        member(config, ())
    about: Header = resolve(f"{known.file}:header")(config)
    if data.sequence_length and about.canvas:
        raise ConfigError(
            f"the pictures of `{data.dataset}` have {about.steps} pixels, all of which are steps",
            where="data.sequence_length",
            expected="null; `downsample_factor` or `resolution` makes them fewer",
        )
    if data.sequence_length and data.sequence_length > about.steps:
        raise ConfigError(
            f"`{data.dataset}` has {about.steps} steps",
            where="data.sequence_length",
            expected=f"sequence_length <= {about.steps}",
        )
    if known.makes_channels or data.data_dim is None:
        return about
    if data.data_dim > about.channels:
        raise ConfigError(
            f"`{data.dataset}` has {about.channels} channels",
            where="data.data_dim",
            expected=f"data_dim <= {about.channels}",
        )
    outputs = None if about.outputs is None else min(about.outputs, data.data_dim)
    return replace(about, channels=data.data_dim, outputs=outputs)


def _kept(about: Header, split: str, asked: int | None) -> int:
    """Items of a split once it is cut to the size `asked` for.

    Raises:
        ConfigError: there are not so many.
    """
    size = about.sizes[split]
    if asked is not None and asked > size:
        raise ConfigError(
            f"there are {size} sequences to {split} on",
            where=f"data.{split}_size",
            expected=f"{split}_size <= {size}",
        )
    return asked or size


def _counts(config: Config, about: Header) -> tuple[int, int]:
    """Training and validation items; sets with a validation part of their own keep it."""
    size = _kept(about, "train", config.data.train_size)
    if "val" in about.sizes:
        return size, about.sizes["val"]
    share = config.data.val_share
    held = max(1, round(size * share)) if share and size > 1 else 0
    return size - held, held


def _held_out(items: Batch, held: int, config: Config) -> Tensor:
    """Indices of the held-out items, each class in proportion, by `data.seed`."""
    size = len(items["x"])
    order = _permutation(size, config, "held-out")
    if "label" in items:
        order = order[items["label"][order].argsort(stable=True)]
    # Every (size / held)-th of the items sorted by class: shares differ by less than one item.
    places = (torch.arange(held) + 0.5) * (size / held)
    return order[places.long()]


def _cut(items: Batch, count: int, config: Config, split: str) -> Batch:
    """`count` of the items, in their order, by `data.seed`; larger choices hold smaller ones."""
    size = len(items["x"])
    if count == size:
        return items
    return _pick(items, _permutation(size, config, split)[:count].sort().values)


def _permutation(size: int, config: Config, name: str) -> Tensor:
    generator = torch.Generator().manual_seed(derive(config.data.seed, "split", name))
    return torch.randperm(size, generator=generator)


def _pick(items: Batch, indices: Tensor) -> Batch:
    return {name: tensor.index_select(0, indices) for name, tensor in items.items()}


def _narrowed(items: Batch, width: int | None) -> Batch:
    """Items with the first `width` channels only."""
    return {
        name: tensor[..., :width] if name in ("x", "target") else tensor
        for name, tensor in items.items()
    }
