"""A diagonal state-space model (S4D): a convolution over a sequence, or a recurrence by steps."""

# N batch, T steps, H features, S complex states of a feature

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from weft.families.warp.baselines.cells import State

STATES = 16
"""Complex states of a feature; each stands for a conjugate pair."""


class DiagonalLayer(nn.Module):
    """H independent single-channel systems with diagonal transitions, then a gated mixing.

        s_t = exp(dt a) s_{t-1} + (exp(dt a) - 1) / a u_t      y_t = 2 Re(c . s_t) + D u_t
        out_t = norm(u_t + glu(W gelu(y_t)))

    S4D of Gu, Gupta, Goel, Ré (2022) with the linear initialisation a_n = -1/2 + i pi n; the real
    part of a is -exp(.), so that no state can grow.

    Args:
        width: H.
        states: S.
    """

    def __init__(self, width: int, states: int = STATES) -> None:
        super().__init__()
        self.width, self.states = width, states
        low, high = math.log(1e-3), math.log(1e-1)
        self.log_dt = nn.Parameter(low + (high - low) * torch.rand(width))
        self.log_decay = nn.Parameter(torch.full((width, states), math.log(0.5)))
        self.turn = nn.Parameter(math.pi * torch.arange(states).float().repeat(width, 1))
        # Real and imaginary parts, as optimisers and checkpoints use real numbers.
        self.c = nn.Parameter(torch.randn(width, states, 2) * 0.5**0.5)
        self.skip = nn.Parameter(torch.randn(width))
        self.mix = nn.Linear(width, 2 * width)
        self.norm = nn.LayerNorm(width)

    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        """log of the transition dt a, input gain, and read-out 2 c, complex (H, S) each."""
        a = torch.complex(-self.log_decay.exp(), self.turn)
        exponent = self.log_dt.exp()[:, None] * a
        gain = (exponent.exp() - 1) / a
        return exponent, gain, 2 * torch.view_as_complex(self.c)

    def kernel(self, length: int) -> Tensor:
        """Response to an impulse, (H, length)."""
        exponent, gain, c = self.system()
        time = torch.arange(length, device=exponent.device)
        powers = (exponent[..., None] * time).exp()
        return torch.einsum("hs,hst->ht", gain * c, powers).real

    def forward(self, u: Tensor) -> Tensor:
        """All steps of u (N, T, H) by a product of spectra, zero-padded against wrap-around."""
        length = u.shape[1]
        spectrum = torch.fft.rfft(u.mT, 2 * length) * torch.fft.rfft(
            self.kernel(length), 2 * length
        )
        y = torch.fft.irfft(spectrum, 2 * length)[..., :length].mT
        return self._mixed(u, y)

    def step(self, state: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The states (N, H, S) after u (N, H), and the output (N, H)."""
        exponent, gain, c = self.system()
        state = exponent.exp() * state + gain * u[..., None]
        return state, self._mixed(u, (c * state).sum(-1).real)

    def _mixed(self, u: Tensor, y: Tensor) -> Tensor:
        mixed: Tensor = self.norm(u + F.glu(self.mix(F.gelu(y + self.skip * u))))
        return mixed


class DiagonalCell(nn.Module):
    """An affine map of the inputs, then diagonal layers, from states of zero.

    Args:
        inputs: i.
        width: H.
        layers: l.
    """

    def __init__(self, inputs: int, width: int, layers: int) -> None:
        super().__init__()
        self.width = width
        self.encoder = nn.Linear(inputs, width)
        self._stack = nn.ModuleList(DiagonalLayer(width) for _ in range(layers))

    @property
    def layers(self) -> list[DiagonalLayer]:
        """The diagonal layers, first to last."""
        return [layer for layer in self._stack if isinstance(layer, DiagonalLayer)]

    def begin(self, first: Tensor) -> State:
        """Zeros, complex (N, H, S) for each layer."""
        kind = torch.complex64 if first.dtype == torch.float32 else torch.complex128
        shape = (first.shape[0], self.width, STATES)
        return (torch.zeros(shape, dtype=kind, device=first.device),) * len(self.layers)

    def step(self, state: State, u: Tensor) -> tuple[State, Tensor]:
        """One step through all layers."""
        after: list[Tensor] = []
        h: Tensor = self.encoder(u)
        for layer, before in zip(self.layers, state, strict=True):
            now, h = layer.step(before, h)
            after.append(now)
        return tuple(after), h

    def forward(self, first: Tensor, u: Tensor) -> Tensor:
        """All steps at once."""
        h: Tensor = self.encoder(u)
        for layer in self.layers:
            h = layer(h)
        return h
