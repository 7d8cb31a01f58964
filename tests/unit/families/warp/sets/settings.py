"""The settings of a data set in few words, and all that is in a part of it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from weft.data.source import Source
from weft.families.warp.config import Config


def config(
    dataset: str, *, batch_size: int = 1, top: dict[str, Any] | None = None, **data: Any
) -> Config:
    tree = {"steps": 1, "batch_size": batch_size, "data": {"dataset": dataset, **data}}
    return Config.model_validate({**tree, **(top or {})})


def everything(source: Source | None) -> dict[str, Tensor]:
    assert source is not None
    return next(iter(source.batches(10**6)))
