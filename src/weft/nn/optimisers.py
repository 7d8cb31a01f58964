"""torch's optimisers without its marks for compiling them, which no run of weft does.

To mark a method torch imports its compiler when the method is first called: half of what a run of
seconds takes before its first step.
"""

from __future__ import annotations

from inspect import unwrap
from typing import TYPE_CHECKING

import torch
from torch.optim import Optimizer


class Unmarked(Optimizer):
    """First among the bases of an optimiser, it has torch's own methods called as they are."""

    if not TYPE_CHECKING:
        add_param_group = unwrap(Optimizer.add_param_group)
        load_state_dict = unwrap(Optimizer.load_state_dict)
        state_dict = unwrap(Optimizer.state_dict)
        zero_grad = unwrap(Optimizer.zero_grad)


class SGD(Unmarked, torch.optim.SGD):
    """torch.optim.SGD, which it equals bit for bit."""

    if not TYPE_CHECKING:
        step = torch.no_grad()(unwrap(torch.optim.SGD.step))


class Adam(Unmarked, torch.optim.Adam):
    """torch.optim.Adam, which it equals bit for bit."""

    if not TYPE_CHECKING:
        step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class AdamW(Unmarked, torch.optim.AdamW):
    """torch.optim.AdamW, which it equals bit for bit."""

    if not TYPE_CHECKING:
        step = torch.no_grad()(unwrap(torch.optim.AdamW.step))
