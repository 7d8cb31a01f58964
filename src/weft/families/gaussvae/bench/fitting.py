"""Benchmark: fits of small pictures, Adam's update, and the gradient of the error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from weft.families.gaussvae.forms.dispatch import has_numba
from weft.families.gaussvae.splats.anchored import Anchored
from weft.families.gaussvae.splats.descent import EPSILON, Descent
from weft.families.gaussvae.splats.fit import begin
from weft.families.gaussvae.splats.likeness import Likeness
from weft.families.gaussvae.splats.quality import ssim
from weft.task.bench import Case, Form

PICTURES, SIDE, SPLATS, STEPS = 4, 32, 64, 120
"""One call of a form fits PICTURES pictures of SIDE x SIDE with SPLATS splats in STEPS steps."""

_UPDATED = 256
"""Number of pictures in one update: half a million numbers with their moments."""


def fitting_cases() -> Iterator[Case]:
    """Fits, updates and gradients.

    These are whole fits of 4 pictures of 32 x 32 with 64 splats in 120 steps; updates of 256 such
    sets; and the gradient of Image-GS's error, L1 and SSIM, for a picture of 768 x 512. `compiled`
    is the form of `fit` with numba, `by-autograd` the one without, one picture at a time.
    """
    fits: dict[str, Callable[[], Form]] = {"by-autograd": partial(_fitted, "sdpa")}
    updates: dict[str, Callable[[], Form]] = {"torch": _by_torch, "torch-fused": _by_fused}
    compiled: dict[str, Callable[[], Form]] = {}
    if has_numba():
        compiled = {"compiled": partial(_fitted, "auto", windows=10)}
        updates = {"compiled": _by_numba, **updates}
    yield Case("fit-32", {**compiled, **fits}, tuple(fits))
    yield Case("update", updates, ("torch", "torch-fused"))
    slopes = {"compiled": partial(_slope, "compiled")} if has_numba() else {}
    slopes |= {"by-hand": partial(_slope, "by-hand"), "autograd": partial(_slope, "autograd")}
    yield Case("slope-768x512", slopes, ("by-hand", "autograd"), full=True)


def _pictures() -> Tensor:
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(PICTURES, 3, SIDE // 4, SIDE // 4, generator=draw)
    return interpolate(coarse, (SIDE, SIDE), mode="bicubic").clamp(0, 1)


def _fitted(form: str, windows: int = 3) -> Form:
    images, how = _pictures(), Anchored(SPLATS, STEPS, form=form)

    def step() -> None:
        begin(images, how).advance(STEPS)

    return Form(step, windows=windows, steps_per_window=1)


def _numbers() -> tuple[Descent, Tensor]:
    draw = torch.Generator().manual_seed(0)
    free, slope = torch.randn(2, _UPDATED, SPLATS, 8, generator=draw).unbind()
    return Descent.of(free), slope


def _by_torch() -> Form:
    way, slope = _numbers()
    return Form(lambda: way.down(slope, 0.01, (0.9, 0.99)))


def _by_fused() -> Form:
    way, slope = _numbers()
    free = way.free.requires_grad_()
    free.grad = slope
    return Form(torch.optim.Adam([free], 0.01, (0.9, 0.99), EPSILON, fused=True).step)


def _by_numba() -> Form:
    from weft.families.gaussvae.forms.descend import down

    way, slope = _numbers()
    arrays = [each.numpy() for each in (way.free, way.first, way.second, slope)]
    # Rates of the first step, free of the moments' bias as it is then.
    numbers = [np.float32(each) for each in (0.01 / 0.1, 1 / 0.01, 0.9, 0.99, EPSILON)]
    return Form(lambda: down(*arrays, *numbers))


def _slope(form: str) -> Form:
    draw = torch.Generator().manual_seed(0)
    found, wanted = torch.rand(2, 3, 512, 768, generator=draw)
    likeness = Likeness(wanted, 1.0, 0.0, 0.1, compiled=form == "compiled")
    free = found.clone().requires_grad_()

    def by_autograd() -> None:
        free.grad = None
        ((free - wanted).abs().mean() + 0.1 * (1 - ssim(free, wanted))).backward()

    step = by_autograd if form == "autograd" else partial(likeness.slope, found)
    return Form(step, windows=5, steps_per_window=1)
