"""A trace computed one step at a time, with N states for each input, whatever the delay.

Every kernel except the ideal delay is the impulse response of N states with constant rates. The
input is constant during a step, so that the step is exact (zero-order hold) and gives exactly the
taps of `kernel.trace_kernel`, without truncation.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from weft.errors import UsageError
from weft.families.cet.trace.kernel import (
    Readout,
    cascade_kernel,
    held,
    legendre,
    legendre_readout,
    optimal_readout,
)


class States(NamedTuple):
    """The linear system behind a trace: s <- Phi s + beta u, and the trace is read' s.

    Attributes:
        step: Phi, the transition of the states in one step, shape (N, N).
        drive: beta, what one unit of activity adds to the states, shape (N,).
        read: weight of each state in the trace, shape (N,).
        first: whether activity enters before the trace is read, as in an exponential trace.
    """

    step: Tensor
    drive: Tensor
    read: Tensor
    first: bool = False


def states(delay: int, order: int, length: int, readout: Readout = "last") -> States:
    """The states whose impulse response is `kernel.trace_kernel` of the same arguments, float64.

    Args:
        delay: T >= 1 steps.
        order: number of states N >= 1.
        length: taps over which the kernel sums to 1: those of the stream in the parallel form.
        readout: as in `kernel.pairing`.
    Raises:
        UsageError: unless 1 <= delay < length.
    """
    if not 1 <= delay < length:
        raise UsageError(
            f"delay is {delay}, of {length} taps", where="states", expected="1 <= delay < taps"
        )
    if readout == "legendre":
        window, mix = legendre_readout(delay, order, length)
        return States(*legendre(window, order), mix)
    if readout == "optimal":
        rate, mix = optimal_readout(delay, order, length)
        return States(*_cascade(rate, order), mix)
    if order == 1:
        kernel = cascade_kernel(delay, 1, length)
        decay = torch.exp(torch.tensor([[-1 / delay]], dtype=torch.float64))
        return States(decay, torch.ones(1, dtype=torch.float64), kernel[:1], first=True)
    rate = (order - 1) / (delay - 0.5)
    last = torch.zeros(order, dtype=torch.float64)
    edges = torch.tensor(rate * (length - 1), dtype=torch.float64)
    last[-1] = 1 / torch.special.gammainc(torch.tensor(float(order)).double(), edges)
    return States(*_cascade(rate, order), last)


def _cascade(rate: float, order: int) -> tuple[Tensor, Tensor]:
    """ds1/dt = a (u - s1), dsj/dt = a (sj-1 - sj)."""
    chain = torch.eye(order, dtype=torch.float64).roll(1, 0)
    chain[0] = 0
    drive = torch.zeros(order, dtype=torch.float64)
    drive[0] = rate
    return held(rate * (chain - torch.eye(order, dtype=torch.float64)), drive)


def advance(state: Tensor, activity: Tensor, of: States) -> tuple[Tensor, Tensor]:
    """One step: the trace for an error that arrives now, and the next states.

    Args:
        state: shape (N, ...); zeros at the start of a stream.
        activity: of this step, shape (...): inputs of a layer, or products of gates and inputs.
        of: the linear system, in the dtype and on the device of `state`.
    Returns: the trace, shape (...), and the next state.
    """
    after = torch.tensordot(of.step, state, dims=1) + torch.tensordot(
        of.drive[:, None], activity[None], dims=1
    )
    return torch.tensordot(of.read, after if of.first else state, dims=1), after


class StreamingTrace(nn.Module):
    """The trace of a stream that arrives one step at a time; no past activity is stored.

        trace = StreamingTrace(delay=20, order=10, length=500)
        for x, late in stream:          # the input, and the error of the input 20 steps ago
            weight_gradient += torch.outer(late, trace(x))

    Args:
        delay, order, length, readout: see `states`.
    Attributes:
        state: shape (N, ...), empty before the first step.
    """

    state: Tensor

    def __init__(self, *, delay: int, order: int, length: int, readout: Readout = "last") -> None:
        super().__init__()
        made = states(delay, order, length, readout)
        self.first = made.first
        for name in ("step", "drive", "read"):
            self.register_buffer(name, getattr(made, name), persistent=False)
        self.register_buffer("state", torch.empty(0))

    def reset(self) -> None:
        """Begins a new stream."""
        self.state = self.state.new_empty(0)

    @torch.no_grad()
    def forward(self, activity: Tensor) -> Tensor:
        """Takes the activity of one step and returns the trace, both of shape (...)."""
        step, drive, read = (self.get_buffer(n).to(activity) for n in ("step", "drive", "read"))
        if self.state.numel() == 0:
            self.state = activity.new_zeros(len(drive), *activity.shape)
        trace, self.state = advance(self.state, activity, States(step, drive, read, self.first))
        return trace
