"""A ReLU behind a layer, and an average pool behind that, tell the layer what they have seen.

They stay where they are and compute what they always did. Which layer a ReLU belongs to is read at
run time from the graph that autograd keeps: it is the one whose output the ReLU has been given. A
ReLU that is a function call is found in that graph when the model's forward pass is over.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from weft.families.cet.trace.pool import Pool
from weft.nn.once import once

aten = torch.ops.aten


class Behind(NamedTuple):
    """What a backward pass found behind a layer.

    Attributes:
        hidden: outputs of the ReLU, shape (R, ...).
        error: at the output of the pool, or at that of the ReLU if there is no pool.
        pool: the only one that the ReLU's output went to, or None.
    """

    hidden: Tensor
    error: Tensor
    pool: Pool | None


def opened(error: Tensor, hidden: Tensor | None, pool: Pool | None) -> Tensor:
    """Error at the pre-activation, of an error behind ReLU and pool; `hidden` None: no ReLU."""
    if hidden is None:
        return error
    if pool is not None:
        return pool.spread(error, hidden)
    return aten.threshold_backward(error, hidden, 0)


def energy(error: Tensor, hidden: Tensor | None, pool: Pool | None) -> Tensor:
    """Sum of squares of each row's error at the output of the ReLU, shape (R,)."""
    if pool is not None and hidden is not None:
        return pool.energy(error, hidden)
    return torch.linalg.vector_norm(error.flatten(1), dim=1).square()


class Reading:
    """Where the ReLU and the pool behind one call of a layer leave word for its backward pass.

    Attributes:
        mask: where the layer's output is positive, if a ReLU that is a function call is foreseen.
    """

    def __init__(self, mask: Tensor | None = None) -> None:
        self.mask = mask
        self._pooled: tuple[Pool, Tensor, Tensor] | None = None
        self._gated: tuple[Behind, Tensor] | None = None

    def pooled(self, pool: Pool, error: Tensor, handed: Tensor) -> None:
        """Called by the pool's backward pass: the error it was given, and the one it hands down."""
        self._pooled = pool, error, handed

    def gated(self, hidden: Tensor, error: Tensor, handed: Tensor) -> None:
        """Called by the ReLU's backward pass, likewise."""
        behind = Behind(hidden, error, None)
        if self._pooled is not None and _same(self._pooled[2], error):
            behind = Behind(hidden, self._pooled[1], self._pooled[0])
        self._gated, self._pooled = (behind, handed), None

    def take(self, grad: Tensor) -> Behind | None:
        """What stands behind the layer, if the error it is given comes from its ReLU alone.

        Args:
            grad: error at the layer's output. That of several users is a sum, a new tensor.
        """
        found, self._gated, self._pooled = self._gated, None, None
        return found[0] if found is not None and _same(found[1], grad) else None


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors, both alive, are one."""
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape


class ReadReLU(nn.ReLU):
    """A ReLU that tells the layer before it what it lets through; made by `convert`."""

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.ReLU`."""
        if not torch.is_grad_enabled():
            return super().forward(x)
        if torch.compiler.is_compiling():
            # Compiled code has no graph of autograd to read. Said here and not once for all, which
            # would import the compiler into every run.
            apart: Any = torch.compiler.disable(_relu)
            return apart(x, self.inplace)
        return _relu(x, self.inplace)

    def _get_name(self) -> str:
        return nn.ReLU.__name__


class ReadAvgPool2d(nn.AvgPool2d):
    """An average pool that tells the layer before its ReLU what it was given; by `convert`."""

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.AvgPool2d`; behind a ReLU that is read, faster and to rounding."""
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return super().forward(x)
        node = x.grad_fn
        if node is None or node.name() != "ReluBackward0":
            return super().forward(x)
        reading = _of_layer(node.next_functions[0][0])
        if reading is None:
            return super().forward(x)
        out: Tensor = _Pool.apply(x, reading, geometry(self))
        return out

    def _get_name(self) -> str:
        return nn.AvgPool2d.__name__


READ: dict[type[nn.Module], type[nn.Module]] = {nn.ReLU: ReadReLU, nn.AvgPool2d: ReadAvgPool2d}
"""Kinds of modules that `convert` has tell what they see, and what it makes of them."""


def read_functions(model: nn.Module, args: Any, output: Any) -> None:
    """A forward hook that finds ReLUs that are function calls, in autograd's graph of `output`."""
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return
    found = [leaf.grad_fn for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    todo, seen = [node for node in found if node is not None], set(found)
    while todo:
        node = todo.pop()
        for below, _ in node.next_functions:
            if below is None:
                continue
            reading = _of_layer(below) if node.name() == "ReluBackward0" else None
            if reading is not None and reading.mask is not None:
                node.register_hook(partial(_called, reading, reading.mask))
            if below not in seen:
                seen.add(below)
                todo.append(below)


def _called(
    reading: Reading, mask: Tensor, handed: tuple[Tensor, ...], errors: tuple[Tensor, ...]
) -> None:
    """Hook behind the backward pass of a ReLU that is a function call."""
    reading.gated(mask.to(errors[0].dtype), errors[0], handed[0])


def _passed(
    reading: Reading, hidden: Tensor, handed: tuple[Tensor, ...], errors: tuple[Tensor, ...]
) -> None:
    """Hook behind the backward pass of a ReLU module."""
    reading.gated(hidden, errors[0], handed[0])


def geometry(pool: nn.AvgPool2d) -> Pool:
    """The geometry of an average pool."""
    return Pool(
        pair(pool.kernel_size),
        pair(pool.stride),
        pair(pool.padding),
        pool.ceil_mode,
        pool.count_include_pad,
        pool.divisor_override,
    )


def pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    """A size in two directions, of which torch may keep one number."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _relu(x: Tensor, inplace: bool) -> Tensor:
    reading = _of_layer(x.grad_fn)
    out = functional.relu(x, inplace)
    if reading is not None and out.grad_fn is not None:
        # A hook costs a third of an autograd function. It holds no part of the graph, which would
        # then hold itself.
        out.grad_fn.register_hook(partial(_passed, reading, out.detach()))
    return out


def _of_layer(node: Any) -> Reading | None:
    """Of the layer that is this node of autograd's graph, or stands right behind it.

    Hooks on a module's backward pass make nodes of their own, which compute nothing.
    """
    while node is not None and type(node).__name__ == "BackwardHookFunctionBackward":
        node = node.next_functions[0][0]
    reading = getattr(node, "layer", None)
    return reading if isinstance(reading, Reading) else None


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, reading: Reading, pool: Pool) -> Tensor:
        ctx.save_for_backward(x)
        ctx.reading, ctx.pool = reading, pool
        return pool.average(x)

    @staticmethod
    @once
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        handed = ctx.pool.share(error, x)
        ctx.reading.pooled(ctx.pool, error, handed)
        return handed, None, None
