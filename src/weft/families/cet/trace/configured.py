"""Converts a run's network by its config."""

from __future__ import annotations

from typing import TypeVar

import torch.distributed as dist
from torch import nn

from weft.errors import DeviceError
from weft.families.cet.config import Config
from weft.families.cet.trace.conversion import convert

M = TypeVar("M", bound=nn.Module)


def configured(config: Config, network: M) -> M:
    """Converts `network` in place and returns it.

    Raises:
        DeviceError: for `carry` on several processes.
    """
    if config.carry and dist.is_initialized() and dist.get_world_size() > 1:
        raise DeviceError(
            f"`carry` cannot be shared by {dist.get_world_size()} processes: "
            "a checkpoint holds the past of one",
            where="carry",
            expected="one process, with any number of `streams`",
        )
    sparse = config.sparse
    if sparse is not None:
        # The engine divides the loss of each part of a batch by the number of parts, so that errors
        # are smaller by that factor.
        sparse /= config.engine.accumulation**2
    convert(
        network,
        order=config.order,
        delay=config.delay,
        gate=config.gate,
        kernel=config.kernel,
        readout=config.readout,
        error=config.error,
        sparse=sparse,
        threshold=config.threshold,
        binary=config.binary,
        covariance=config.covariance,
        theta_threshold=config.theta_threshold,
        timescale=config.timescale,
        taps=config.taps,
        carry=config.carry,
    )
    return network
