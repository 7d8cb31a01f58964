"""Choices tagged by `kind`, such as `optim.kind: adamw`, that families and plug-ins can extend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points

from weft.config.section import KindConfig
from weft.config.sections import (
    Adam,
    AdamW,
    Constant,
    Cosine,
    NoClip,
    NormClip,
    Plateau,
    Sgd,
    ValueClip,
)


@dataclass(frozen=True)
class Kind:
    """One branch of a tagged union.

    Args:
        config: its config class, whose `kind` is a Literal of the tag.
        build: "module:function" that turns the config into the thing itself; imported on use.
    """

    config: type[KindConfig]
    build: str


Kinds = Mapping[str, Kind]

_BUILT_IN: dict[str, dict[str, Kind]] = {
    "optim": {
        "sgd": Kind(Sgd, "weft.engine.optim:sgd"),
        "adam": Kind(Adam, "weft.engine.optim:adam"),
        "adamw": Kind(AdamW, "weft.engine.optim:adamw"),
    },
    "schedule": {
        "constant": Kind(Constant, "weft.engine.schedule:ConstantSchedule"),
        "cosine": Kind(Cosine, "weft.engine.schedule:CosineSchedule"),
        "plateau": Kind(Plateau, "weft.engine.schedule:PlateauSchedule"),
    },
    "clip": {
        "none": Kind(NoClip, "weft.engine.clip:NoClipping"),
        "norm": Kind(NormClip, "weft.engine.clip:NormClipping"),
        "value": Kind(ValueClip, "weft.engine.clip:ValueClipping"),
    },
}


@cache
def kinds(section: str) -> Kinds:
    """The kinds of `optim`, `schedule` or `clip`: built in, then entry points `weft.<section>`.

    An entry point names a `Kind`; its own name is the tag.
    """
    plugged = {point.name: point.load() for point in entry_points(group=f"weft.{section}")}
    return {**_BUILT_IN[section], **plugged}
