"""The cost model: a machine, the work of a problem, and its time on the machine."""

# N batch, T steps, m drive channels, d data channels, D weights

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from weft.families.warp.cell.layer import Layer
from weft.families.warp.cell.root import MlpRoot
from weft.families.warp.cell.span import Span


@dataclass(frozen=True)
class Machine:
    """Rates of a device.

    Attributes:
        rate: operations per second of large float32 products.
        bandwidth: bytes per second from memory.
        cache: size of the cache in bytes; data up to this size are read at the rate `cached`.
        cached: bytes per second from the cache.
        call: overhead of a call in seconds.
    """

    rate: float
    bandwidth: float
    cache: float
    cached: float
    call: float

    @staticmethod
    def of(device: torch.device) -> Machine:
        """Constants of a kind of device.

        CPU: measured on one thread of an AMD EPYC (November 2026), times the threads: products by
        oneDNN of 64 rows or more, and of two rows with matrices of 3 to 96 MB. GPU: an H100's
        data sheet, not measured.
        """
        if device.type == "cuda":
            return Machine(rate=4e13, bandwidth=2.5e12, cache=4e7, cached=5e12, call=8e-6)
        threads = torch.get_num_threads()
        return Machine(1e11 * threads, 1e10, 1.6e7, 3e10 * threads, 8e-6)


class Work(NamedTuple):
    """A number of equal calls, and their total work.

    Attributes:
        calls: number of calls.
        flops: operations of all of them.
        bytes: read and written by all of them.
    """

    calls: float
    flops: float
    bytes: float

    def seconds(self, machine: Machine) -> float:
        """Time: the larger of arithmetic and memory time, plus the overhead of calls."""
        small = self.bytes <= machine.cache * max(1.0, self.calls)
        moved = self.bytes / (machine.cached if small else machine.bandwidth)
        return max(self.flops / machine.rate, moved) + self.calls * machine.call


@dataclass(frozen=True)
class Problem:
    """Shapes and rule of one layer's run.

    Attributes:
        batch, steps: N and T.
        drives: m, channels of data and clock.
        channels: d, channels of data.
        size: D.
        product: operations of A theta.
        numbers: entries of A.
        rank: of a low-rank A, else 0.
        structured: whether A is not a full matrix.
        reading: operations of one evaluation of the root.
        starts: number of distinct initial weights, 1 to N.
        clipped, second_order: of the rule.
        feedback: whether predictions are fed back.
        last: whether only the last step is read.
        ragged: whether lengths of sequences differ.
        span: number of weights of a root in a `Span`, whose state has `size` numbers; else 0.
        closed: whether a formula gives the powers of A.
    """

    batch: int
    steps: int
    drives: int
    channels: int
    size: int
    product: int
    numbers: int
    rank: int
    structured: bool
    reading: int
    starts: int
    clipped: bool
    second_order: bool
    feedback: bool
    last: bool
    ragged: bool
    span: int = 0
    closed: bool = False

    @property
    def shared(self) -> bool:
        """Whether all sequences start from the same weights."""
        return self.starts == 1

    @property
    def square(self) -> float:
        """Operations of A A."""
        return self.product * self.numbers / self.size

    @staticmethod
    def of(
        layer: Layer,
        batch: int,
        steps: int,
        *,
        feedback: bool = False,
        last: bool = False,
        starts: int | None = None,
        ragged: bool = False,
    ) -> Problem:
        """The run of `layer` over N = `batch` sequences of T = `steps` steps.

        If `starts` is None, it is 1 for a learnt theta_0 and N for one computed from x_0.
        """
        A, root, size = layer.transition, layer.root, layer.root.size
        return Problem(
            batch=batch,
            steps=steps,
            drives=layer.B.shape[1],
            channels=layer.rule.channels,
            size=size,
            product=A.flops,
            numbers=sum(parameter.numel() for parameter in A.parameters()),
            rank=0 if A.factors is None else A.factors[0].shape[1],
            structured=A.structured,
            reading=root.flops if isinstance(root, MlpRoot | Span) else 2 * size,
            starts=starts or (1 if layer.initial.shared else batch),
            clipped=layer.rule.limit is not None,
            second_order=layer.rule.second_order,
            feedback=feedback,
            last=last,
            ragged=ragged,
            span=root.inner.size if isinstance(root, Span) else 0,
            closed=A.closed,
        )
