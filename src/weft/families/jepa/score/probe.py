"""Reads positions out of frozen codes: the exact linear probe, the published one, their errors."""

# T frames, B batch, D code, K dots, N rows

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from weft.families.jepa.nets.backbone import stack
from weft.nn.precision import full_precision, widened

Pair = tuple[Tensor, Tensor]
"""Codes (T, B, D) and the normalised locations (T, B, K, 2) they should hold."""

Readout = Callable[[Tensor], Tensor]
"""Codes (T, B, D) -> locations (T, B, K, 2)."""


class Probe(nn.Module):
    """Codes to locations: one linear map without bias, or an MLP with batch norm.

    Args:
        code_dim: D.
        num_dots: K.
        hidden: widths of hidden layers, as `256-256`; empty for the linear map.
    """

    def __init__(self, code_dim: int, num_dots: int, hidden: str = "") -> None:
        super().__init__()
        self.num_dots = num_dots
        widths = [code_dim, *(int(width) for width in hidden.split("-") if width)]
        self.read = stack([*widths, 2 * num_dots])

    def forward(self, codes: Tensor) -> Tensor:
        """Locations (..., K, 2) of codes (..., D), in float32 or more whatever the autocast."""
        with full_precision(codes.device):
            flat: Tensor = self.read(widened(codes).flatten(0, -2))
        return flat.view(*codes.shape[:-1], self.num_dots, 2)


class NormalEquations:
    """Least squares over a stream of batches, in float64: W minimises |H W - P|^2 + lambda |W|^2.

    The minimum over all batches seen follows from two sums, H^T H and H^T P.
    """

    def __init__(self) -> None:
        self.gram: Tensor | None = None
        self.cross: Tensor | None = None

    def add(self, features: Tensor, targets: Tensor) -> None:
        """Adds rows.

        Args:
            features: (N, D).
            targets: (N, M).
        """
        features, targets = features.double(), targets.double()
        gram, cross = features.mT @ features, features.mT @ targets
        if self.gram is None or self.cross is None:
            self.gram, self.cross = gram, cross
        else:
            self.gram += gram
            self.cross += cross

    def solve(self, ridge: float) -> Tensor:
        """W, float64 (D, M), for lambda = ridge times the mean of diag(H^T H).

        Entries of the code that are always zero get the weight zero.
        """
        assert self.gram is not None and self.cross is not None
        # The smallest normal number keeps an all-zero Gram matrix solvable: W is 0 then.
        penalty = ridge * self.gram.diagonal().mean() + torch.finfo(torch.float64).tiny
        damped = self.gram + penalty * torch.eye(len(self.gram), dtype=torch.float64,
                                                 device=self.gram.device)  # fmt: skip
        factor, _ = torch.linalg.cholesky_ex(damped)
        return torch.cholesky_solve(self.cross, factor)


def closed_form(features: Tensor, targets: Tensor, ridge: float = 1e-6) -> Tensor:
    """The best linear map without bias from `features` (N, D) to `targets` (N, M), (D, M)."""
    equations = NormalEquations()
    equations.add(features, targets)
    return equations.solve(ridge)


def fit_closed_form(pairs: Iterable[Pair], ridge: float) -> tuple[Probe, Probe]:
    """Exact linear probes of all frames, and of the first frame alone (the encoder's).

    Args:
        pairs: batches, each read once.
        ridge: as in `NormalEquations.solve`.
    """
    every, first = NormalEquations(), NormalEquations()
    num_dots = 1
    for codes, locations in pairs:
        num_dots = locations.shape[-2]
        every.add(codes.flatten(0, 1), locations.flatten(2).flatten(0, 1))
        first.add(codes[0], locations[0].flatten(1))
    return _linear(every.solve(ridge), num_dots), _linear(first.solve(ridge), num_dots)


def _linear(weights: Tensor, num_dots: int) -> Probe:
    probe = Probe(len(weights), num_dots).to(weights.device).requires_grad_(False)
    (weight,) = probe.parameters()
    weight.copy_(weights.mT)
    return probe.eval()


def fit_adam(pairs: Iterable[Pair], lr: float, hidden: str = "") -> Probe:
    """The published probe: Adam on the mean, over frames and dots, of the squared distance.

    Args:
        pairs: as many batches as there shall be steps, fresh ones.
        lr: Adam's learning rate.
        hidden: widths of hidden layers, as in `Probe`.
    """
    probe: Probe | None = None
    for codes, locations in pairs:
        if probe is None:
            probe = Probe(codes.shape[-1], locations.shape[-2], hidden).to(widened(codes))
            optimiser = torch.optim.Adam(probe.parameters(), lr=lr, fused=True)
        with torch.enable_grad():
            loss = (probe(codes) - locations).square().sum(-1).mean()
            gradients = torch.autograd.grad(loss, list(probe.parameters()))
        for parameter, gradient in zip(probe.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
    assert probe is not None, "a probe needs at least one batch"
    return probe.requires_grad_(False).eval()


def squared_errors(readouts: Sequence[Readout], pairs: Iterable[Pair]) -> list[Tensor]:
    """Mean squared Euclidean distance of every frame and dot, for each of several read-outs.

    Args:
        readouts: codes to locations.
        pairs: batches, each read once.
    Returns: float64 (T, K) each, in squared normalised units.
    """
    totals, count = [torch.zeros((), dtype=torch.float64) for _ in readouts], 0
    for codes, locations in pairs:
        for number, readout in enumerate(readouts):
            distance = (readout(codes) - locations).double().square().sum(-1)
            totals[number] = totals[number].to(distance.device) + distance.sum(1)
        count += codes.shape[1]
    return [total / count for total in totals]
