"""Adam as in Keras, where eps is added to the root of the uncorrected second moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from weft.families.gaussvae.options.sections import KerasAdam as KerasAdamConfig
from weft.task.optimiser import Groups, Together


class KerasAdam(Together):
    """Adam with eps outside the bias correction (Kingma & Ba 2015, end of section 2).

    In step n, for a parameter p with gradient g,

        m <- beta1 m + (1 - beta1) g
        v <- beta2 v + (1 - beta2) g^2
        p <- p - lr sqrt(1 - beta2^n) / (1 - beta1^n) m / (sqrt(v) + eps)

    torch's Adam adds eps to sqrt(v / (1 - beta2^n)). Its eps is thus effectively smaller by the
    factor sqrt(1 - beta2^n), which is 1/32 in the first step.

    Args:
        params: parameters or groups.
        lr: learning rate.
        betas: decays of the two moments, in [0, 1).
        eps: added to the root.
    """

    def __init__(
        self,
        params: Groups | Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    def update(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        """Updates the parameters of a group in place."""
        for p in parameters:
            if not self.state[p]:
                # Each parameter counts its own steps, as some may have had no gradient.
                self.state[p] = {"step": 0, "m": torch.zeros_like(p), "v": torch.zeros_like(p)}
        gradients = [p.grad for p in parameters if p.grad is not None]
        states = [self.state[p] for p in parameters]
        for state in states:
            state["step"] += 1
        beta1, beta2 = group["betas"]
        # torch's own Adam, its eps made as small as Keras' is: one pass over memory.
        for n, members in _by_step(states).items():
            torch._fused_adam_(
                [parameters[i] for i in members],
                [gradients[i] for i in members],
                [states[i]["m"] for i in members],
                [states[i]["v"] for i in members],
                [],
                [parameters[0].new_full((), n, dtype=torch.float32)] * len(members),
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=0.0,
                eps=group["eps"] / (1 - beta2**n) ** 0.5,
                amsgrad=False,
                maximize=False,
            )


def _by_step(states: Sequence[Mapping[str, Any]]) -> dict[int, list[int]]:
    """Which of the states are in which step."""
    found: dict[int, list[int]] = {}
    for index, state in enumerate(states):
        found.setdefault(state["step"], []).append(index)
    return found


def keras_adam(config: KerasAdamConfig, groups: Groups) -> KerasAdam:
    """The optimiser of a config."""
    return KerasAdam(groups, config.lr, (config.beta1, config.beta2), config.eps)
