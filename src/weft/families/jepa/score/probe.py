"""Probes that read positions from frozen codes: the exact linear one, and the published one."""

# T frames, B batch, D code, K dots, N rows

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from weft.data.remarks import remark
from weft.families.jepa.nets.backbone import stack
from weft.nn.optimisers import Adam
from weft.nn.precision import full_precision, widened

Pair = tuple[Tensor, Tensor]
"""Codes (T, B, D), and the true normalised locations (T, B, K, 2)."""

Readout = Callable[[Tensor], Tensor]
"""Codes (T, B, D) -> locations (T, B, K, 2)."""

ENOUGH = 20
"""Number of rows per entry of the code above which a linear probe needs almost no ridge."""

RIDGE = 1e-6
"""A ridge that makes the equations solvable and changes no error by as much as 1e-4."""

RIDGES = tuple(10.0 ** (half / 2) for half in range(-12, 7))
"""Ridges to choose from by held-out rows, in units of the mean squared entry of codes."""


class Probe(nn.Module):
    """From codes to locations: a linear map without bias, or an MLP with batch norm.

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
        """Locations (..., K, 2) of codes (..., D), in float32 or wider even under autocast."""
        with full_precision(codes.device):
            flat: Tensor = self.read(widened(codes).flatten(0, -2))
        return flat.view(*codes.shape[:-1], self.num_dots, 2)


class NormalEquations:
    """Least squares over a stream of batches, in float64: W minimises |H W - P|^2 + lambda |W|^2.

    The minimum over all batches, and the error of any W on them, follow from three sums: H^T H,
    H^T P and |P|^2.

    Attributes:
        rows: number of rows added.
    """

    def __init__(self) -> None:
        self.gram = self.cross = self.square = torch.zeros((), dtype=torch.float64)
        self.rows = 0

    def add(self, features: Tensor, targets: Tensor) -> None:
        """Adds rows.

        Args:
            features: (N, D).
            targets: (N, M).
        """
        features, targets = features.double(), targets.double()
        self.gram = self.gram.to(features.device) + features.mT @ features
        self.cross = self.cross.to(features.device) + features.mT @ targets
        self.square = self.square.to(features.device) + targets.square().sum()
        self.rows += len(features)

    def __add__(self, other: NormalEquations) -> NormalEquations:
        """The equations of the rows of both."""
        return self._with(other, 1)

    def __sub__(self, part: NormalEquations) -> NormalEquations:
        """The equations of the rows that are not in `part`."""
        return self._with(part, -1)

    def _with(self, other: NormalEquations, sign: int) -> NormalEquations:
        both = NormalEquations()
        both.gram, both.cross = self.gram + sign * other.gram, self.cross + sign * other.cross
        both.square, both.rows = self.square + sign * other.square, self.rows + sign * other.rows
        return both

    def solve(self, ridge: float) -> Tensor:
        """W, float64 (D, M), for lambda = ridge times the mean of diag(H^T H).

        Entries of the code that are always zero get weight zero. Codes with NaN give a W of NaN and
        no exception, so that the metrics show the failure of the run.
        """
        # The smallest normal number keeps an all-zero Gram matrix solvable: W is 0 then.
        penalty = ridge * self.gram.diagonal().mean() + torch.finfo(torch.float64).tiny
        damped = self.gram + penalty * torch.eye(len(self.gram), dtype=torch.float64,
                                                 device=self.gram.device)  # fmt: skip
        factor, _ = torch.linalg.cholesky_ex(damped)
        return torch.cholesky_solve(self.cross, factor)

    def error(self, weights: Tensor) -> Tensor:
        """|H W - P|^2 of W (D, M), a scalar."""
        quadratic = (weights * (self.gram @ weights)).sum()
        return quadratic - 2 * (weights * self.cross).sum() + self.square


def closed_form(features: Tensor, targets: Tensor, ridge: float = RIDGE) -> Tensor:
    """The best linear map without bias from `features` (N, D) to `targets` (N, M), (D, M)."""
    equations = NormalEquations()
    equations.add(features, targets)
    return equations.solve(ridge)


class Checked:
    """Least squares with a ridge that depends on the number of rows.

    With `ENOUGH` rows per entry of the code the ridge is `RIDGE`. With fewer it is the one with the
    smallest error in five-fold cross-validation. The map is then fitted to all rows.
    """

    def __init__(self) -> None:
        self.parts = [NormalEquations() for _ in range(5)]

    def add(self, features: Tensor, targets: Tensor, part: Tensor) -> None:
        """Adds rows (…, N, D) and targets (…, N, M); `part` (N,) is the number of their fold."""
        for number, equations in enumerate(self.parts):
            rows = (each[..., part == number, :].flatten(0, -2) for each in (features, targets))
            equations.add(*rows)

    def solve(self, ridge: float | None) -> Tensor:
        """W, float64 (D, M), with the given ridge; None: with the one for these rows."""
        every = sum(self.parts[1:], self.parts[0])
        width = len(every.gram)
        enough = every.rows >= ENOUGH * width
        if ridge is None and not enough:
            ridge = self._chosen(every)
        elif not enough:
            remark(
                f"a probe of codes of width {width} learns from {every.rows} rows, fewer than "
                f"{ENOUGH} x the width: its error may be far above that of more rows. Raise "
                "probe.size, or leave probe.ridge unset to have it chosen on held-out rows."
            )
        return every.solve(RIDGE if ridge is None else ridge)

    def _chosen(self, every: NormalEquations) -> float:
        others = [(part, every - part) for part in self.parts]
        errors = [[part.error(rest.solve(ridge)) for ridge in RIDGES] for part, rest in others]
        return RIDGES[int(torch.stack([*map(torch.stack, errors)]).sum(0).argmin())]


def fit_closed_form(
    pairs: Iterable[Pair], ridge: float | None = None, *, burnin: int = 1
) -> tuple[Probe, Probe]:
    """Exact linear probes for all frames, and for the first frame alone (the encoder's).

    Args:
        pairs: batches, each read once.
        ridge: as in `Checked.solve`.
        burnin: R; the probe for all frames uses those from R - 1 on.
    """
    every, first = Checked(), Checked()
    num_dots, seen = 1, 0
    for codes, locations in pairs:
        num_dots, targets = locations.shape[-2], locations.flatten(2)
        part = torch.arange(seen, seen + codes.shape[1], device=codes.device) % 5
        seen += len(part)
        every.add(codes[burnin - 1 :], targets[burnin - 1 :], part)
        first.add(codes[0], targets[0], part)
    return _linear(every.solve(ridge), num_dots), _linear(first.solve(ridge), num_dots)


def _linear(weights: Tensor, num_dots: int) -> Probe:
    probe = Probe(len(weights), num_dots).to(weights.device).requires_grad_(False)
    (weight,) = probe.parameters()
    weight.copy_(weights.mT)
    return probe.eval()


def fit_adam(pairs: Iterable[Pair], lr: float, hidden: str = "") -> Probe:
    """The published probe: Adam on the mean, over frames and dots, of the squared distance.

    Args:
        pairs: one new batch for each step.
        lr: Adam's learning rate.
        hidden: widths of hidden layers, as in `Probe`.
    """
    probe: Probe | None = None
    for codes, locations in pairs:
        if probe is None:
            probe = Probe(codes.shape[-1], locations.shape[-2], hidden).to(widened(codes))
            optimiser = Adam(probe.parameters(), lr=lr, fused=True)
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
        readouts: maps from codes to locations.
        pairs: batches, each read once.
    Returns: for each read-out float64 (T, K), in squared normalised units.
    """
    totals, count = [torch.zeros((), dtype=torch.float64) for _ in readouts], 0
    for codes, locations in pairs:
        for number, readout in enumerate(readouts):
            distance = (readout(codes) - locations).double().square().sum(-1)
            totals[number] = totals[number].to(distance.device) + distance.sum(1)
        count += codes.shape[1]
    return [total / count for total in totals]
