"""torch's optimisers without the wrappers of torch.compile, which weft never applies to them.

The wrapped methods import torch's compiler on their first call, which would take half of the time
before the first step of a short run.
"""

from __future__ import annotations

from inspect import unwrap
from typing import TYPE_CHECKING

import torch
from torch.optim import Optimizer


class Unmarked(Optimizer):
    """As the first base of an optimiser class, it restores torch's unwrapped methods."""

    if not TYPE_CHECKING:
        add_param_group = unwrap(Optimizer.add_param_group)
        load_state_dict = unwrap(Optimizer.load_state_dict)
        state_dict = unwrap(Optimizer.state_dict)
        zero_grad = unwrap(Optimizer.zero_grad)


class SGD(Unmarked, torch.optim.SGD):
    """torch.optim.SGD, unwrapped; equal to it bit for bit."""

    if not TYPE_CHECKING:
        step = torch.no_grad()(unwrap(torch.optim.SGD.step))


class Adam(Unmarked, torch.optim.Adam):
    """torch.optim.Adam, unwrapped; equal to it bit for bit."""

    if not TYPE_CHECKING:
        step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class AdamW(Unmarked, torch.optim.AdamW):
    """torch.optim.AdamW, unwrapped; equal to it bit for bit."""

    if not TYPE_CHECKING:
        step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
