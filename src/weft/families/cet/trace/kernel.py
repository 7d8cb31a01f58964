"""Trace kernels, and the pairing matrix, which gives the weight of each error and activity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["cascade", "ideal", "sideways"]
Readout = Literal["last", "optimal", "legendre"]
ErrorShape = Literal["impulse", "smeared"]

READING_NOISE = 1e-5
"""Standard error of reading one stage, relative to one unit of activity that passes through it."""
TAIL = 1e-6
"""Largest share of a kernel's mass beyond the taps that carry mode keeps."""
GRID = 256
"""Number of rates in each step of the search for the best read-out."""
WINDOWS = 41
"""Number of windows tried for the Legendre delay system."""

# B items of a stream, K kernel length, N order (stages), T delay
# In carry mode: E = B + late errors kept, P = B + past steps kept


def cascade_kernel(delay: int, order: int, length: int) -> Tensor:
    """Impulse response of a cascade of `order` equal leaky integrators, peaked at `delay`.

    k[t] is the mass of the Gamma(order, rate a) density in the bin (t - 1, t], with
    a = (order - 1) / (T - 1/2), so that the bin with the largest mass is t = T. Order 1 is
    exp(-t / T).

    Args:
        delay: T >= 0 steps; 0 gives the unit impulse at 0 (no delay, no trace).
        order: number of stages N >= 1.
        length: number of taps K >= 1; the rest is cut off before normalisation.
    Returns: k, shape (K,), float64, summing to 1 (all zero if no mass falls into K taps).
    """
    if delay == 0:
        return ideal_kernel(0, length)
    if order == 1:
        mass = torch.exp(-torch.arange(length, dtype=torch.float64) / delay)
    else:
        rate = torch.tensor((order - 1) / (delay - 0.5), dtype=torch.float64)
        mass = stages(rate, order, length)[-1]
    total = mass.sum()
    return mass / total if total > 0 else mass


def ideal_kernel(delay: int, length: int) -> Tensor:
    """Unit impulse at `delay`, shape (length,), float64: a perfect memory of one time step."""
    kernel = torch.zeros(length, dtype=torch.float64)
    kernel[delay : delay + 1] = 1.0
    return kernel


def stages(rate: Tensor, order: int, length: int) -> Tensor:
    """Impulse responses of all stages of a cascade: P(j, a t) - P(j, a (t-1)), j = 1..order.

    Args:
        rate: a > 0 per step, float64, any shape (...).
        order: number of stages N >= 1.
        length: number of taps K >= 1.
    Returns: shape (..., N, K); tap 0 is zero, because a trace is read before it is written.
    """
    edges = rate[..., None, None] * torch.arange(length, dtype=torch.float64)
    shape = torch.arange(1, order + 1, dtype=torch.float64)[:, None]
    edges, shape = torch.broadcast_tensors(edges, shape)
    cumulative = torch.special.gammainc(shape.contiguous(), edges.contiguous())
    return torch.diff(cumulative, dim=-1, prepend=torch.zeros_like(cumulative[..., :1]))


def readout_kernel(delay: int, order: int, length: int) -> Tensor:
    """The kernel of the best linear read-out of all stages, at the best rate (README, "The rule").

    Of all mixtures k = c H of the stages H (N, K), c = (H H' + e^2 I)^-1 H[:, T] has the largest
    k[T]^2 / (sum k^2 + e^2 sum c^2), which then equals k[T]. The rate that maximises it is found by
    search. e is the precision with which a stage can be read, `READING_NOISE`. Without it the
    search would diverge to fast rates, where tiny differences of stages are amplified into a shift
    register.

    The kernel is scaled to sum to 1, like that of the cascade. The part of the gradient that is due
    to the mean activity then has gain 1 in the update, so that learning rates carry over.

    Args:
        delay: T >= 0 steps; 0 gives the unit impulse at 0.
        order: number of stages N >= 1.
        length: number of taps K >= 1.
    Returns: k, shape (K,), float64, summing to 1, with negative lobes; all zero if T >= K.
    """
    if delay == 0 or delay >= length:
        return ideal_kernel(delay, length)
    rate, mix = optimal_readout(delay, order, length)
    return mix @ stages(torch.tensor(rate, dtype=torch.float64), order, length)


@lru_cache
def optimal_readout(delay: int, order: int, length: int) -> tuple[float, Tensor]:
    """The rate of the cascade, and the mixture (N,) of its stages, behind `readout_kernel`."""
    noise = _noise(order).expand(GRID, order, order)
    low, high = 0.1 / delay, 100.0 / delay  # several local optima
    for _ in range(3):
        rates = torch.logspace(math.log10(low), math.log10(high), GRID, dtype=torch.float64)
        responses = stages(rates, order, length)
        basis = torch.linalg.qr(torch.cat([responses.mT, noise], dim=1)).Q  # (GRID, K + N, N)
        best = int(basis[:, delay].square().sum(-1).argmax())
        low, high = float(rates[max(best - 1, 0)]), float(rates[min(best + 1, GRID - 1)])
    return float(rates[best]), _mix(responses[best], delay)


def _mix(responses: Tensor, delay: int) -> Tensor:
    """c = (H H' + e^2 I)^-1 H[:, T] for H (N, K), scaled so that c H sums to 1; shape (N,)."""
    basis, triangle = torch.linalg.qr(torch.cat([responses.mT, _noise(len(responses))]))
    mix = torch.linalg.solve_triangular(triangle, basis[delay][:, None], upper=True)[:, 0]
    return mix / (mix @ responses).sum()


def legendre(window: float, order: int) -> tuple[Tensor, Tensor]:
    """One step of the Legendre delay system, whose N states represent the last `window` steps.

    dm/dt = A m + B u with A[i, j] = (2 i + 1) / w times -1 for i < j, else (-1)^(i - j + 1), and
    B[i] = (2 i + 1) (-1)^i / w. The input is constant during the step.

    Args:
        window: w > 0 steps.
        order: number of states N >= 1.
    Returns: the transition, shape (N, N), and what a unit of input adds, (N,); float64.
    """
    i = torch.arange(order, dtype=torch.float64)
    sign = 1 - 2 * (i % 2)
    scale = (2 * i + 1) / window
    mix = torch.where(i[:, None] < i[None, :], -1.0, -sign[:, None] * sign[None, :])
    return held(scale[:, None] * mix, scale * sign)


def held(rates: Tensor, drive: Tensor) -> tuple[Tensor, Tensor]:
    """One step of ds/dt = A s + b u with constant u: exp(A), (..., N, N), and A^-1 (exp(A) - I) b,
    (..., N).

    Args:
        rates: A, shape (..., N, N).
        drive: b, shape (..., N).
    """
    order = len(drive)
    joined = torch.zeros(order + 1, order + 1, dtype=rates.dtype)
    joined[:order, :order], joined[:order, order] = rates, drive
    step = torch.linalg.matrix_exp(joined)
    return step[:order, :order], step[:order, order]


def legendre_kernel(delay: int, order: int, length: int) -> Tensor:
    """The kernel of the best read-out of the Legendre delay system, at the best window.

    As `readout_kernel`, with the same arguments and result; the window is searched from T to 2 T.
    """
    if delay == 0 or delay >= length:
        return ideal_kernel(delay, length)
    window, mix = legendre_readout(delay, order, length)
    return mix @ _legendre_responses(window, order, length)


@lru_cache
def legendre_readout(delay: int, order: int, length: int) -> tuple[float, Tensor]:
    """The window, and the mixture (N,) of states, behind `legendre_kernel`."""
    found = []
    for window in torch.linspace(delay, 2 * delay, WINDOWS, dtype=torch.float64).tolist():
        responses = _legendre_responses(window, order, length)
        basis = torch.linalg.qr(torch.cat([responses.mT, _noise(order)])).Q
        found.append((float(basis[delay].square().sum()), window))
    window = max(found)[1]
    return window, _mix(_legendre_responses(window, order, length), delay)


def _legendre_responses(window: float, order: int, length: int) -> Tensor:
    step, state = legendre(window, order)
    taps = [torch.zeros_like(state)]
    for _ in range(length - 1):
        taps.append(state)
        state = step @ state
    return torch.stack(taps, dim=1)


def _noise(order: int) -> Tensor:
    return READING_NOISE * torch.eye(order, dtype=torch.float64)


def support(delay: int, order: int, kernel: Kernel = "cascade") -> int:
    """The number of taps W of a kernel in carry mode, over which it is normalised.

    For `cascade` it is the smallest W with less than `TAIL` of the mass of its last stage beyond,
    whatever the read-out; for `ideal` it is T + 1, for `sideways` 1.
    """
    if kernel == "sideways":
        return 1
    if kernel == "ideal" or delay == 0:
        return delay + 1
    if order == 1:
        return math.floor(-delay * math.log(TAIL)) + 1
    rate = (order - 1) / (delay - 0.5)
    # Gamma(N) has less than TAIL of its mass beyond 2 N + 30, for every N.
    edges = rate * torch.arange(math.ceil((2 * order + 30) / rate) + 1, dtype=torch.float64)
    beyond = torch.special.gammaincc(torch.full_like(edges, order), edges)
    return int((beyond >= TAIL).sum()) + 1


FORMS: dict[Readout, Callable[[int, int, int], Tensor]] = {
    "last": cascade_kernel, "optimal": readout_kernel, "legendre": legendre_kernel
}  # fmt: skip
"""Read-out -> its kernel, a function of delay, order and number of taps."""


def trace_kernel(
    delay: int, order: int, length: int, kernel: Kernel = "cascade", readout: Readout = "last"
) -> Tensor:
    """The first `length` taps of the trace's kernel, shape (length,), float64."""
    if kernel == "sideways":
        return ideal_kernel(0, length)
    if kernel == "ideal":
        return ideal_kernel(delay, length)
    return FORMS[readout](delay, order, length)


def merit(kernel: Tensor, delay: int) -> float:
    """rho = k[T]^2 / sum k^2 in [0, 1]: the share of the kernel's energy at the delay."""
    return float(kernel[delay].square() / kernel.square().sum())


@dataclass(frozen=True)
class Pairing:
    """Which error meets which activity in a stream of B items.

    In carry mode the B items are preceded by earlier ones: rows of M, and `arrival`, are the last
    E errors, columns of M the last P activities.

    Attributes:
        matrix: M, shape (B, B); M[u, s] weighs the error of item u against the activity of item s.
        arrival: shape (B,); the total weight with which the error of item u arrives in the stream.
        delay: T, steps between an item and its error.
        length: items in the stream the matrix was built for.
        arrived: number n if exactly the first n errors arrive, each with weight 1; else None.
        gain: the largest weight of an error with its own activity, on the diagonal of M.
        gate: N, shape (B, B), if the gate is smeared: N[u, s] is the weight of the gate of item s
            in the gate of the error of item u; else None.
        top: the largest tap of the gate's kernel.
    """

    matrix: Tensor
    arrival: Tensor
    delay: int
    length: int
    arrived: int | None = None
    gain: float = 1.0
    gate: Tensor | None = None
    top: float = 1.0

    @property
    def is_identity(self) -> bool:
        """Whether every error meets exactly its own activity: plain back-propagation."""
        return self.delay == 0

    def has_own_gate(self, threshold: float) -> bool:
        """Whether the gate differs from the derivative of the ReLU, 0 or 1."""
        return self.gate is not None or threshold * self.top > 1

    def at(self, times: Tensor, stream: Tensor | None = None) -> Pairing:
        """The pairing of some items only.

        Args:
            times: time steps of the kept items, integers in [0, length), shape (m,).
            stream: which stream each kept item belongs to, shape (m,); errors meet activity of
                their own stream only. One stream if None.
        Returns: a pairing with matrix (m, m) and arrival (m,).
        """
        own = None if stream is None else stream[:, None] == stream[None, :]

        def pick(matrix: Tensor) -> Tensor:
            picked = matrix[times[:, None], times[None, :]]
            return picked if own is None else picked * own

        gate = None if self.gate is None else pick(self.gate)
        return replace(
            self, matrix=pick(self.matrix), arrival=self.arrival[times], arrived=None, gate=gate
        )

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Pairing:
        """The same pairing on `device` in `dtype`."""
        gate = None if self.gate is None else self.gate.to(device, dtype)
        matrix, arrival = (tensor.to(device, dtype) for tensor in (self.matrix, self.arrival))
        return replace(self, matrix=matrix, arrival=arrival, gate=gate)


def pairing(
    delay: int,
    order: int,
    length: int,
    *,
    kernel: Kernel = "cascade",
    readout: Readout = "last",
    error: ErrorShape = "impulse",
    carry: bool = False,
    taps: int | None = None,
) -> Pairing:
    """Builds M = D' K for a stream of `length` items, in float64.

    K[t, s] = k[t - s] is the trace of item s at time t; D[t, u] is the share of the error of item u
    that arrives at time t. Both end with the stream: what would arrive later is lost.

    Args:
        delay: T >= 0 steps.
        order: number of stages of the cascade, N >= 1.
        length: B items.
        kernel: `cascade`; `ideal`, a perfect memory of the activity T steps ago; `sideways`, no
            memory (the error meets the activity of the time step at which it arrives).
        readout: the `last` stage of the cascade, the `optimal` mixture of all stages, or that of
            the `legendre` delay system.
        error: `impulse`, exactly T steps late, or `smeared` by the cascade's kernel.
        carry: whether the stream continues from the batch before: both kernels have all taps of
            `support`, and u and s begin as many steps before the batch as the kernels reach back.
        taps: on the retrograde timescale, the number of taps of the kernel; no error is lost, and
            M[u, s] = k[u + T - s]. A `smeared` error is then one whose gate is smeared.
    """
    impulse = error == "impulse" or delay == 0
    if taps is not None:
        return _uncut(delay, order, length, taps, kernel, readout, impulse)
    shape: Kernel = "ideal" if impulse else "cascade"
    taps = support(delay, order, kernel) if carry else length
    late_taps = support(delay, order, shape) if carry else length
    late = trace_kernel(delay, order, late_taps, shape)
    memory = trace_kernel(delay, order, taps, kernel, readout)
    errors = late_taps - 1 if carry else 0
    past = max(taps - 1, errors) if carry else 0
    arrives = _toeplitz(late, length, errors)
    matrix = arrives.mT @ _toeplitz(memory, length, past)
    return Pairing(
        matrix=matrix,
        arrival=arrives.sum(0),
        delay=delay,
        length=length,
        arrived=max(length + errors - delay, 0) if impulse else None,
        gain=float(matrix.diagonal(past - errors).max()),
    )


def _uncut(
    delay: int, order: int, length: int, taps: int, kernel: Kernel, readout: Readout, impulse: bool
) -> Pairing:
    memory = trace_kernel(delay, order, taps, kernel, readout)
    opening = trace_kernel(delay, order, taps)
    matrix = _toeplitz(memory, length, shift=delay)
    return Pairing(
        matrix=matrix,
        arrival=torch.ones(length, dtype=torch.float64),
        delay=delay,
        length=length,
        arrived=length,
        gain=float(matrix.diagonal().max()),
        gate=None if impulse else _toeplitz(opening, length, shift=delay),
        top=float(opening.max()),
    )


def _toeplitz(kernel: Tensor, length: int, before: int = 0, shift: int = 0) -> Tensor:
    """K[t, s] = kernel[t + shift - s], else 0, for 0 <= t < length and -before <= s < length."""
    lag = torch.arange(length)[:, None] - torch.arange(-before, length)[None, :] + shift
    inside = (lag >= 0) & (lag < len(kernel))
    return torch.where(inside, kernel[lag.clamp(0, len(kernel) - 1)], 0.0)
