"""Repeats only the matrix products of a step, whose time is a floor for any form of that step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from weft.nn.counted import flop_registry
from weft.nn.onednn import at_precision, precision


@dataclass(frozen=True)
class _Layout:
    """The properties of a tensor that determine the time of a product."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


class _Recorder(TorchDispatchMode):
    """Records the calls whose FLOPs torch can count.

    For each tensor there is a `_Layout`, and for each call the allowed precision, which decides
    the library that computes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, str | None]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func._overloadpacket in flop_registry:
            self.calls.append((func, tree_map(_layout, (args, kwargs)), precision()))
        return func(*args, **kwargs)


def products_alone(step: Callable[[], object]) -> Callable[[], None]:
    """A function that repeats the products of one call of `step`, with equal shapes and strides.

    Operands are random; those of equal layout are one tensor. Without the elementwise work between
    them the products find warmer caches than in the step, so that their time is a floor.

    Args:
        step: called once, to record its products.

    Returns: a function that computes the products once.
    """
    with _Recorder() as recorder:
        step()
    operands: dict[_Layout, Tensor] = {}

    def operand(value: Any) -> Any:
        if not isinstance(value, _Layout):
            return value
        if value not in operands:
            size, stride = value.size, value.stride
            empty = torch.empty_strided(size, stride, dtype=value.dtype, device=value.device)
            operands[value] = empty.normal_()
        return operands[value]

    calls = [(func, tree_map(operand, words), given) for func, words, given in recorder.calls]

    @torch.no_grad()
    def again() -> None:
        for func, (args, kwargs), given in calls:
            at_precision(given, func, *args, **kwargs)

    return again


def _layout(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return _Layout(tuple(value.shape), value.stride(), value.dtype, value.device)
