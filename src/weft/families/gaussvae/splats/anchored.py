"""The anchored fit: each splat stays near its grid cell, so that its index gives its position."""

# M pictures of H x W pixels, N splats each

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from weft.errors import UsageError
from weft.families.gaussvae.forms.dispatch import has_numba
from weft.families.gaussvae.splats.curves import path
from weft.families.gaussvae.splats.descent import EPSILON, Descent
from weft.families.gaussvae.splats.geometry import RATIO_LOG_MOST, STD_LEAST
from weft.families.gaussvae.splats.quantise import Bits, quantised
from weft.families.gaussvae.splats.rasterise import CUT, render

STD = 0.4
"""Standard deviation at the start, in sides of a cell."""

LONGEST = 2.0
"""Largest ratio of a cell's longer side to its shorter one."""

FLOOR = 1e-5
"""Added to the mean squared error in the logarithm of the loss, which bounds it below."""


@dataclass(frozen=True)
class Anchored:
    """Settings of an anchored fit; the defaults were chosen on training pictures of CIFAR-10.

    Attributes:
        splats: N, a product of two factors that make a grid of nearly square cells.
        steps: number of steps of Adam.
        rate: learning rate of all numbers; it falls linearly to 0 in the last `decay` of the steps.
        decay: share of the steps, in (0, 1].
        betas: Adam's.
        pull: weight of the mean square of the change of u, v, m, a, b from their start.
        bits: to which numbers are rounded at the end, see `quantise`; None: not rounded.
        blend: "normalised" or "sum".
        form: of the renderer; "auto" takes the fastest.
    """

    splats: int = 512
    steps: int = 150
    rate: float = 0.06
    decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    pull: float = 0.1
    bits: Bits | None = None
    blend: str = "normalised"
    form: str = "auto"

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.rate * min(1.0, (self.steps - step) / (self.steps * self.decay))


class AnchoredFit:
    """A running fit of splats to many pictures of one size, by minimising

        log(mean squared error + FLOOR) + pull mean((u, v, m, a, b) - start)^2

    Each picture has its own loss and moments, so that its result does not depend on the others.

    Args:
        images: (M, 3, H, W) in [0, 1].
        how: the settings.
    """

    def __init__(self, images: Tensor, how: Anchored) -> None:
        self.images, self.how = images, how
        self.size = (images.shape[-2], images.shape[-1])
        self.cells: tuple[int, int] | None = grid(how.splats, *self.size)
        self.start = start(images, self.cells)
        self.way = Descent.of(self.start.clone())

    @property
    def left(self) -> int:
        """Number of steps that remain."""
        return self.how.steps - self.way.step

    def advance(self, steps: int) -> None:
        """Takes the next `steps` steps, or those that remain."""
        end = self.way.step + min(steps, self.left)
        if _is_native(self.how.form, self.images):
            self._descend(end)
        else:
            self._follow(end)
        self.way.step = end

    def _descend(self, end: int) -> None:
        """By the compiled kernel."""
        from weft.families.gaussvae.forms.descend import descend

        assert self.cells is not None
        how, way = self.how, self.way
        one, two = how.betas
        rates = [
            (how.rate_at(step) / (1 - one ** (step + 1)), 1 / (1 - two ** (step + 1)))
            for step in range(way.step, end)
        ]
        descend(
            *(way.free, way.first, way.second, self.start, self.images, centres(self.cells)),
            self.cells,
            np.array(rates, np.float32).reshape(-1, 2),
            how.betas,
            pull=how.pull,
            floor=FLOOR,
            epsilon=EPSILON,
            cut=CUT,
            normalised=how.blend == "normalised",
        )

    def _follow(self, end: int) -> None:
        """By autograd, a picture at a time on a CPU."""
        alone = list(self.way.alone())
        share = len(self.images) // len(alone)
        pairs = zip(alone, self.images.split(share), self.start.split(share), strict=True)
        for way, images, begin in pairs:
            while way.step < end:
                rate = self.how.rate_at(way.step)
                way.down(self._gradient(way.free, images, begin), rate, self.how.betas)
                hold(way.free, *self.size, self.how.blend)

    def splats(self) -> Tensor:
        """The splats: (M, N, 8), layout `logcov`."""
        assert self.cells is not None
        found = placed(self.way.free, self.cells)
        return quantised(found, self.how.bits) if self.how.bits else found

    def state(self) -> dict[str, Any]:
        """The state from which another process can continue exactly, by `restore`."""
        way = self.way
        return {"step": way.step, "ways": [way.free, way.first, way.second]}

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from a `state`."""
        free, first, second = (part.to(self.start) for part in state["ways"])
        self.way = Descent(free, first, second, state["step"])

    def _gradient(self, free: Tensor, images: Tensor, begin: Tensor) -> Tensor:
        assert self.cells is not None
        free = free.detach().requires_grad_()
        how = self.how
        found = render(placed(free, self.cells), *self.size, blend=how.blend, form=how.form)
        error = (found - images).square().flatten(1).mean(1)
        moved = (free - begin)[..., :5].square().flatten(1).mean(1)
        loss = (error + FLOOR).log() + how.pull * moved
        (gradient,) = torch.autograd.grad(loss.sum(), free)
        return gradient


def grid(splats: int, height: int, width: int) -> tuple[int, int]:
    """(rows, columns) of the grid of N cells that are as square as N allows.

    Raises:
        UsageError: if no grid has nearly square cells; the error names the nearest possible N.
    """
    found = _factors(splats, height, width)
    if found is None:
        near = (splats + sign * step for step in range(1, splats + 9) for sign in (-1, 1))
        good = [n for n in near if n > 0 and _factors(n, height, width)][:4]
        raise UsageError(
            f"{splats} splats make no grid of nearly square cells on {height} x {width} pixels",
            expected=f"for instance {', '.join(map(str, sorted(good)))}",
        )
    return found


def _factors(splats: int, height: int, width: int) -> tuple[int, int] | None:
    def stretch(rows: int) -> float:
        return abs(math.log(height / rows * (splats // rows) / width))

    pairs = [rows for rows in range(1, splats + 1) if splats % rows == 0]
    rows = min(pairs, key=stretch)
    return (rows, splats // rows) if stretch(rows) <= math.log(LONGEST) + 1e-9 else None


def centres(cells: tuple[int, int]) -> Tensor:
    """The centres of a grid's cells in Hilbert's order, as x and y in [0, 1]; float32 (N, 2)."""
    rows, columns = cells
    places = torch.tensor(path(rows, columns), dtype=torch.float64, device="cpu")
    scale = torch.tensor([columns, rows], dtype=torch.float64, device="cpu")
    return ((places.flip(-1) + 0.5) / scale).float()


def start(images: Tensor, cells: tuple[int, int]) -> Tensor:
    """Initial free numbers: round splats in the middle of their cells, with the cell's mean colour.

    Args:
        images: (M, 3, H, W) in [0, 1].
        cells: (rows, columns).
    Returns: (M, N, 8): u, v, m, a, b, r, g, b.
    """
    rows, columns = cells
    height, width = images.shape[-2:]
    free = images.new_zeros(len(images), rows * columns, 8)
    free[..., 2] = 2 * math.log(STD * math.sqrt(height / rows * width / columns))
    order = [row * columns + column for row, column in path(rows, columns)]
    where = torch.tensor(order, device=images.device)
    means = adaptive_avg_pool2d(images, cells).flatten(2)
    free[..., 5:] = means[:, :, where].transpose(1, 2)
    return free


def placed(free: Tensor, cells: tuple[int, int]) -> Tensor:
    """Free numbers as splats of layout `logcov`: centre = cell's centre + cell's size tanh(u, v).

    Args:
        free: (..., N, 8).
        cells: (rows, columns).
    Returns: (..., N, 8), x and y in units of the picture.
    """
    rows, columns = cells
    size = free.new_tensor([1 / columns, 1 / rows])
    where = centres(cells).to(free) + size * free[..., :2].tanh()
    return torch.cat([where, free[..., 2:]], -1)


def hold(free: Tensor, height: int, width: int, blend: str) -> None:
    """Clamps numbers in place, so that covariances are bounded on both sides.

    With blend "normalised" colours are clamped to [0, 1]: without it fits gain less than 0.1 dB,
    and a model of the splats has to learn outliers. With blend "sum" colours are free.
    """
    free[..., 2].clamp_(2 * math.log(STD_LEAST), 2 * math.log(max(height, width)))
    shapes = free[..., 3:5]
    length = torch.hypot(shapes[..., :1], shapes[..., 1:])
    shapes.mul_(RATIO_LOG_MOST / length.clamp(min=RATIO_LOG_MOST))
    if blend == "normalised":
        free[..., 5:].clamp_(0, 1)


def _is_native(form: str, images: Tensor) -> bool:
    """Whether the compiled kernel can be used."""
    asked = form in ("auto", "native") and images.device.type == "cpu"
    return asked and has_numba()
