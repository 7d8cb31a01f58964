"""Sections chosen by a `kind`, such as `optim.kind: adamw`; families and plug-ins can add kinds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import get_args

from weft.config.place import place
from weft.config.plugins import package, plugged, resolve
from weft.config.section import KindConfig
from weft.config.sections import (
    Adam,
    AdamW,
    Constant,
    Cosine,
    Extra,
    HeldOut,
    NoClip,
    NormClip,
    Plateau,
    Sgd,
    ValueClip,
)
from weft.errors import PluginError, WeftError

NAMED = re.compile(r"[\w.]+:\w+")
"""The form "module:name" of objects that are imported on use."""


@dataclass(frozen=True)
class Kind:
    """One branch of a tagged union.

    Args:
        config: its config class, whose `kind` is a Literal of the tag.
        build: "module:function" that makes the object (optimiser, schedule, clip) from its config;
            imported on use.
        entrywise: whether it treats every number of a tensor alike and by itself, so that each
            process may hold a piece of the tensor (`engine.shard`).
    """

    config: type[KindConfig]
    build: str
    entrywise: bool = False


Kinds = Mapping[str, Kind]

_BUILT_IN: dict[str, dict[str, Kind]] = {
    "optim": {
        "sgd": Kind(Sgd, "weft.engine.optim:sgd", entrywise=True),
        "adam": Kind(Adam, "weft.engine.optim:adam", entrywise=True),
        "adamw": Kind(AdamW, "weft.engine.optim:adamw", entrywise=True),
        "extra": Kind(Extra, "weft.engine.optim:extra"),
    },
    "schedule": {
        "constant": Kind(Constant, "weft.engine.schedule:ConstantSchedule"),
        "cosine": Kind(Cosine, "weft.engine.schedule:CosineSchedule"),
        "plateau": Kind(Plateau, "weft.engine.schedule:PlateauSchedule"),
        "held_out": Kind(HeldOut, "weft.engine.schedule:HeldOutSchedule"),
    },
    "clip": {
        "none": Kind(NoClip, "weft.engine.clip:NoClipping", entrywise=True),
        "norm": Kind(NormClip, "weft.engine.clip:NormClipping", entrywise=True),
        "value": Kind(ValueClip, "weft.engine.clip:ValueClipping", entrywise=True),
    },
}


SECTIONS = tuple(_BUILT_IN)
"""The config sections that are chosen by a `kind`."""


def kinds(section: str) -> Kinds:
    """The kinds of `optim`, `schedule` or `clip` by tag: built in, then those of plug-ins.

    A plug-in declares an entry point in the group `weft.<section>` that names a `Kind`; the entry
    point's name is the tag. Those that do not load are left out.
    """
    return {**_BUILT_IN[section], **_plugged(section)[0]}


def broken(section: str) -> Mapping[str, WeftError]:
    """The plug-ins' kinds that do not load: tag -> error."""
    return _plugged(section)[1]


def fault(tag: str, kind: object) -> str:
    """What is wrong with `kind` as the branch `tag` of a section, or "" if nothing is."""
    if not isinstance(kind, Kind):
        return f'kind `{tag}` is {kind!r} and no `Kind(ConfigClass, "module:function")`'
    if not (isinstance(kind.config, type) and issubclass(kind.config, KindConfig)):
        return f"the config of kind `{tag}` is {kind.config!r} and no subclass of KindConfig"
    if get_args(kind.config.model_fields["kind"].annotation) != (tag,):
        return f'`kind` of {kind.config.__name__} is no `Literal["{tag}"]`'
    if not (isinstance(kind.build, str) and NAMED.fullmatch(kind.build)):
        return f'`build` of kind `{tag}` is {kind.build!r} and no "module:function"'
    return ""


@cache
def _plugged(section: str) -> tuple[Kinds, Mapping[str, WeftError]]:
    points, wrong = plugged(f"weft.{section}", _BUILT_IN[section])
    good = {}
    for tag, point in points.items():
        whose = f"`{section}.kind: {tag}` of {package(point)}"
        try:
            kind = resolve(f"{point.module}:{point.attr}", whose)
            if says := fault(tag, kind):
                raise PluginError(f"{whose}: {says}", where=place(import_module(point.module)))
            good[tag] = kind
        except WeftError as error:
            wrong[tag] = error
    return good, wrong
