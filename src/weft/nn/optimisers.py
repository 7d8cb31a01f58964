"""torch's optimisers with less around their kernels, for models whose step takes microseconds.

To mark a method torch imports its compiler when the method is first called: half of what a run of
seconds takes before its first step. And before each step it sorts parameters by device and type,
which takes longer than to update some thousands of them, and is for nothing where all are alike.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer, optimizer


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


class _Direct(Unmarked, torch.optim.Adam):
    """Adam whose step is a call of the fused kernel, where nothing else is asked for."""

    _by_torch = Optimizer.profile_hook_step(torch.no_grad()(unwrap(torch.optim.Adam.step)))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step, as `torch.optim.Adam.step`."""
        if closure is not None or not self._is_plain():
            return self._by_torch(closure)
        for group in self.param_groups:
            # Parameters that have gradients, those, both means, the largest ones, counts of steps.
            lists: tuple[list[torch.Tensor], ...] = ([], [], [], [], [], [])
            self._init_group(group, *lists)
            if not lists[0]:
                continue
            torch._foreach_add_(lists[-1], 1)
            kernel = torch._fused_adamw_ if group["decoupled_weight_decay"] else torch._fused_adam_
            beta1, beta2 = group["betas"]
            kernel(
                *lists,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=group["amsgrad"],
                maximize=group["maximize"],
            )
        return None

    # Told to torch, which else puts its calls of hooks, and a mark for a profiler, around it.
    step.hooked = True  # type: ignore[attr-defined]

    def _is_plain(self) -> bool:
        """Whether the fused kernel is asked for, for parameters that are alike, without a flag
        that it must read, and nobody waits for a step: no hook, no profiler."""
        others = (
            getattr(self, "found_inf", None) is not None
            or getattr(self, "grad_scale", None) is not None
            or self._optimizer_step_pre_hooks
            or self._optimizer_step_post_hooks
            or optimizer._global_optimizer_pre_hooks
            or optimizer._global_optimizer_post_hooks
            or torch.autograd.profiler._is_profiler_enabled
        )
        alike = {(p.device, p.dtype) for group in self.param_groups for p in group["params"]}
        fused = all(group["fused"] for group in self.param_groups)
        return fused and len(alike) == 1 and not others


class Adam(_Direct):
    """torch.optim.Adam, which it equals bit for bit."""


class AdamW(_Direct, torch.optim.AdamW):
    """torch.optim.AdamW, which it equals bit for bit."""
