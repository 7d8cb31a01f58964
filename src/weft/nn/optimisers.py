"""torch's optimisers with less Python around their kernels, which matters for small models.

The wrappers of torch.compile, which weft never applies to an optimiser, import torch's compiler on
their first call: half of the time before the first step of a short run. And Adam sorts parameters
by device and dtype before each step, which takes longer than to update some thousands of them.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer, optimizer


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


class _Direct(Unmarked, torch.optim.Adam):
    """Adam that calls torch's fused kernel itself, if nothing but the update is asked for."""

    _by_torch = Optimizer.profile_hook_step(torch.no_grad()(unwrap(torch.optim.Adam.step)))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update, as by `torch.optim.Adam.step`; returns what the closure returns, or None."""
        if closure is not None or not self._is_plain():
            return self._by_torch(closure)
        for group in self.param_groups:
            # Parameters that have a gradient, gradients, first and second moments, largest second
            # moments (of AMSGrad), numbers of steps.
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

    # Tells torch not to wrap `step` in its calls of hooks and a record for profilers: `_by_torch`
    # has that wrapper, and is taken if there is a hook or a profiler.
    step.hooked = True  # type: ignore[attr-defined]

    def _is_plain(self) -> bool:
        """Whether the kernel can be called directly: fused, one device and dtype, no hook, no
        profiler, and no flag of infinite gradients (as set on a GPU) that it must read."""
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
    """torch.optim.Adam, equal to it bit for bit."""


class AdamW(_Direct, torch.optim.AdamW):
    """torch.optim.AdamW, equal to it bit for bit."""
