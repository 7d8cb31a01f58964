"""The data sets by name: a line each, with what the config must know before they are read."""

from __future__ import annotations

from dataclasses import dataclass

from weft.config.paths import is_npz


@dataclass(frozen=True)
class DataSet:
    """What can be said of a set without importing torch.

    Attributes:
        file: module with its `header(config)` and `load(config)`; imported on use.
        labels: whether its sequences belong to classes.
        target: whether what is to be predicted is another sequence than the input.
        pixels: whether its steps are the pixels of a picture.
        members: what `data.subset` may be, in words; empty where there are no members.
        collection: whether it is nothing but its members, so that one must be named.
        makes_channels: whether `data.data_dim` is how many inputs are made, not how many are kept.
    """

    file: str
    labels: bool = False
    target: bool = False
    pixels: bool = False
    members: str = ""
    collection: bool = False
    makes_channels: bool = False


_ROOM = "weft.families.warp.sets"
SETS: dict[str, DataSet] = {
    "digits": DataSet(f"{_ROOM}.pixels", labels=True, pixels=True),
    "mnist": DataSet(f"{_ROOM}.pixels", labels=True, pixels=True),
    "fashion-mnist": DataSet(f"{_ROOM}.pixels", labels=True, pixels=True),
    "cifar10": DataSet(f"{_ROOM}.pixels", labels=True, pixels=True),
    "celeba": DataSet(f"{_ROOM}.celeba", pixels=True),
    "trends": DataSet(f"{_ROOM}.trends", labels=True, members="uci, for UCI's file"),
    "spirals": DataSet(f"{_ROOM}.spirals", labels=True),
    "msd": DataSet(f"{_ROOM}.springs"),
    "msd-zero": DataSet(f"{_ROOM}.springs"),
    "msd-2": DataSet(f"{_ROOM}.springs"),
    "lotka": DataSet(f"{_ROOM}.lotka", target=True),
    "sine": DataSet(f"{_ROOM}.sine", members="tiny, small, medium, large or huge"),
    "lorenz": DataSet(f"{_ROOM}.lorenz"),
    "ett": DataSet(f"{_ROOM}.forecast", members="h1, h2, m1 or m2", collection=True),
    "uea": DataSet(
        f"{_ROOM}.archive", labels=True, collection=True,
        members="NAME such as BasicMotions, NAME-pooled (both halves, split 70/15/15) or "
        "NAME-shaped (invented data of its size)",
    ),
    "icl": DataSet(f"{_ROOM}.regression", target=True, makes_channels=True),
    "pems08": DataSet(f"{_ROOM}.traffic", target=True),
}  # fmt: skip
"""Words that `data.dataset` knows beside the path of an .npz file."""
FILE = DataSet(f"{_ROOM}.arrays", labels=True)
"""An .npz file of the user's own: what it holds is known once it is opened."""


def find(name: str) -> DataSet | None:
    """The set that `data.dataset` names, or None."""
    return FILE if is_npz(name) else SETS.get(name)
