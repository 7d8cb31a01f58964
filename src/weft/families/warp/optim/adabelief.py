"""AdaBelief as the original ran it: with `eps_root` added to the second moment and kept there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from weft.families.warp.options.sections import Reference
from weft.task.optimiser import Groups, Together


class AdaBelief(Together):
    """AdaBelief (Zhuang et al. 2020) in the form of Optax, which the original trains with.

    For a parameter p with gradient g at its n-th update,

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) (g - m)^2 + eps_root
        p <- p - lr m / (1 - beta1^n) / (sqrt(v / (1 - beta2^n)) + eps)

    with the new m inside v. As `eps_root` stays in v, v settles at eps_root / (1 - beta2) at least:
    1e-13 for the defaults. With gradients clipped to 1e-7 this is momentum descent with steps of
    at most 0.316 lr. All parameters are updated together.

    Args:
        params: parameters or groups.
        lr: learning rate.
        beta1, beta2: decay of the moments, in [0, 1).
        eps: added to the root of v.
        eps_root: added to v at every update.
    """

    def __init__(
        self,
        params: Groups | Iterable[Tensor],
        lr: float = 1e-5,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-16,
        eps_root: float = 1e-16,
    ) -> None:
        options = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps, "eps_root": eps_root}
        super().__init__(params, options)

    def update(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        """Moves parameters of a group, in place."""
        # The bias correction depends on a parameter's own count: one call for each count.
        by_count: dict[int, list[Tensor]] = {}
        for p in parameters:
            state = self.state[p]
            if not state:
                state.update(count=0, m=torch.zeros_like(p), v=torch.zeros_like(p))
            state["count"] += 1
            by_count.setdefault(state["count"], []).append(p)
        for count, equals in by_count.items():
            self._move(equals, count, group)

    def _move(self, parameters: list[Tensor], count: int, group: Mapping[str, Any]) -> None:
        gradients = [p.grad for p in parameters if p.grad is not None]
        m = [self.state[p]["m"] for p in parameters]
        v = [self.state[p]["v"] for p in parameters]
        beta1, beta2 = group["beta1"], group["beta2"]
        torch._foreach_lerp_(m, gradients, 1 - beta1)
        surprise = torch._foreach_sub(gradients, m)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, surprise, surprise, value=1 - beta2)
        torch._foreach_add_(v, group["eps_root"])
        root = torch._foreach_div(v, 1 - beta2**count)
        torch._foreach_sqrt_(root)
        torch._foreach_add_(root, group["eps"])
        torch._foreach_addcdiv_(parameters, m, root, value=-group["lr"] / (1 - beta1**count))


def reference(config: Reference, groups: Groups) -> AdaBelief:
    """The optimiser of a config."""
    return AdaBelief(
        groups,
        lr=config.lr,
        beta1=config.beta1,
        beta2=config.beta2,
        eps=config.eps,
        eps_root=config.eps_root,
    )
