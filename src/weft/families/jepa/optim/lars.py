"""LARS: each weight matrix moves by a fixed share of its norm, whatever the gradient's norm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from weft.families.jepa.options.sections import Lars as LarsConfig
from weft.task.optimiser import Groups, Together


class Lars(Together):
    """Layer-wise adaptive rate scaling (You et al. 2017), as VICReg's authors use it.

    For a parameter p with gradient g,

        g <- g + weight_decay p          (not for vectors)
        g <- eta |p| / |g| g             (not for vectors; factor 1 if either length is 0)
        m <- momentum m + g
        p <- p - lr m

    where vectors are parameters of at most one dimension: biases and normalisation. All parameters
    are updated together, with a nearly constant number of kernel launches.

    Args:
        params: parameters or groups; a group may have options of its own.
        lr: learning rate, already scaled by the batch size.
        momentum: in [0, 1).
        weight_decay: L2 penalty added to the gradient.
        eta: trust coefficient.
    """

    def __init__(
        self,
        params: Groups | Iterable[Tensor],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 1e-6,
        eta: float = 1e-3,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta}
        super().__init__(params, defaults)

    def update(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        """Updates the parameters of a group in place."""
        matrices = [p for p in parameters if p.ndim > 1]
        vectors = [p for p in parameters if p.ndim <= 1]
        gradients = [*_adapted(matrices, group), *_gradients(vectors)]
        ordered = [*matrices, *vectors]
        for p in ordered:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in ordered]
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_add_(momenta, gradients)
        torch._foreach_add_(ordered, momenta, alpha=-group["lr"])


def _adapted(matrices: list[Tensor], group: Mapping[str, Any]) -> list[Tensor]:
    """Gradients with weight decay, scaled to eta times the norm of their weights."""
    if not matrices:
        return []
    decayed = torch._foreach_add(_gradients(matrices), matrices, alpha=group["weight_decay"])
    weight = torch.stack(torch._foreach_norm(matrices))
    length = torch.stack(torch._foreach_norm(decayed))
    ratio = torch.where((weight > 0) & (length > 0), group["eta"] * weight / length, 1.0)
    torch._foreach_mul_(decayed, list(ratio.unbind()))
    return list(decayed)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def lars(config: LarsConfig, groups: Groups) -> Lars:
    """The optimiser of a config; the task has scaled the rate of each group by the batch size."""
    return Lars(
        groups,
        lr=config.base_lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        eta=config.eta,
    )
