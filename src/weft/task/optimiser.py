"""`Together`: base of the families' optimisers, which update all parameters of a group at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch
from torch import Tensor

from weft.nn.optimisers import Unmarked

Groups = Iterable[Mapping[str, Any]]


class Together(Unmarked, ABC):
    """An optimiser whose `update` gets all parameters of a group that have a gradient.

    Args:
        params: parameters, or groups with options of their own.
        options: default options of a group.
    """

    def __init__(self, params: Groups | Iterable[Tensor], options: dict[str, Any]) -> None:
        held: Any = params
        super().__init__(held, options)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Updates every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if moved:
                self.update(moved, group)
        return loss

    @abstractmethod
    def update(self, parameters: list[Tensor], group: Mapping[str, Any]) -> None:
        """Updates parameters of a group in place.

        Args:
            parameters: those of the group that have a gradient.
            group: the group's options by name.
        """
