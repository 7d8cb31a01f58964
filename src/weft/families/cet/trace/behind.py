"""Finds the ReLU that follows a layer, and the average pool after it, in the backward pass.

Their place in the model and their outputs do not change. At run time a ReLU finds its layer in
autograd's graph: it is the one that produced the ReLU's input. A ReLU that is a function call is
found in that graph when the model's forward pass has ended.
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
    """The ReLU and the pool after a layer, as found by a backward pass.

    Attributes:
        hidden: output of the ReLU, shape (R, ...).
        error: gradient at the output of the pool, or of the ReLU if there is no pool.
        pool: the pool, if the output of the ReLU goes to it alone; else None.
    """

    hidden: Tensor
    error: Tensor
    pool: Pool | None


def opened(error: Tensor, hidden: Tensor | None, pool: Pool | None) -> Tensor:
    """Error at the layer's output, given the error after ReLU and pool; `hidden` None: no ReLU."""
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
    """Collects, for the backward pass of one call of a layer, the errors at its ReLU and pool.

    Attributes:
        mask: where the layer's output is positive, if a ReLU as a function call is expected.
    """

    def __init__(self, mask: Tensor | None = None) -> None:
        self.mask = mask
        self._pooled: tuple[Pool, Tensor, Tensor] | None = None
        self._gated: tuple[Behind, Tensor] | None = None

    def pooled(self, pool: Pool, error: Tensor, handed: Tensor) -> None:
        """Called by the backward pass of the pool.

        Args:
            pool: its geometry.
            error: gradient at its output.
            handed: gradient at its input.
        """
        self._pooled = pool, error, handed

    def gated(self, hidden: Tensor, error: Tensor, handed: Tensor) -> None:
        """Called by the backward pass of the ReLU, with its output and the gradients at its output
        (`error`) and input (`handed`)."""
        behind = Behind(hidden, error, None)
        if self._pooled is not None and _same(self._pooled[2], error):
            behind = Behind(hidden, self._pooled[1], self._pooled[0])
        self._gated, self._pooled = (behind, handed), None

    def take(self, grad: Tensor) -> Behind | None:
        """The ReLU and pool after the layer, if the layer's error comes from the ReLU alone.

        Args:
            grad: error at the layer's output. If several modules use the output, it is a sum, and
                so another tensor than the one that the ReLU handed down.
        """
        found, self._gated, self._pooled = self._gated, None, None
        return found[0] if found is not None and _same(found[1], grad) else None


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two existing tensors share their data and shape."""
    return one.data_ptr() == other.data_ptr() and one.shape == other.shape


class ReadReLU(nn.ReLU):
    """A ReLU that reports its output and error to the layer before it; made by `convert`."""

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.ReLU`."""
        if not torch.is_grad_enabled():
            return super().forward(x)
        if torch.compiler.is_compiling():
            # Compiled code has no autograd graph to read. A decorator would be simpler, but imports
            # torch's compiler in every run.
            apart: Any = torch.compiler.disable(_relu)
            return apart(x, self.inplace)
        return _relu(x, self.inplace)

    def _get_name(self) -> str:
        return nn.ReLU.__name__


class ReadAvgPool2d(nn.AvgPool2d):
    """An average pool that reports its error to the layer before its ReLU; made by `convert`."""

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.AvgPool2d`, up to rounding; faster after a `ReadReLU`."""
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
"""Types of modules that `convert` replaces, and the types that replace them."""


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
    """Hook after the backward pass of a ReLU that is a function call."""
    reading.gated(mask.to(errors[0].dtype), errors[0], handed[0])


def _passed(
    reading: Reading, hidden: Tensor, handed: tuple[Tensor, ...], errors: tuple[Tensor, ...]
) -> None:
    """Hook after the backward pass of a ReLU module."""
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
    """A size in two dimensions; torch may store one number for both."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _relu(x: Tensor, inplace: bool) -> Tensor:
    reading = _of_layer(x.grad_fn)
    out = functional.relu(x, inplace)
    if reading is not None and out.grad_fn is not None:
        # A hook costs a third of an autograd function. It must not refer to the graph, or the
        # graph would be a reference cycle.
        out.grad_fn.register_hook(partial(_passed, reading, out.detach()))
    return out


def _of_layer(node: Any) -> Reading | None:
    """The `Reading` of the traced layer at this node of autograd's graph, or None.

    Nodes that hooks on a module's backward pass insert are skipped.
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
