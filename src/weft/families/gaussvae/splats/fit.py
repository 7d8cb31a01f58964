"""Fits splats to pictures, by either of two methods, many pictures at once."""

# M pictures of H x W pixels, N splats each

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from weft.errors import UsageError
from weft.families.gaussvae.splats.anchored import Anchored, AnchoredFit
from weft.families.gaussvae.splats.imagegs import ImageGS, ImageGSFit
from weft.families.gaussvae.splats.quality import psnr, ssim
from weft.families.gaussvae.splats.rasterise import render

MODES: dict[str, type[Anchored] | type[ImageGS]] = {"grid": Anchored, "imagegs": ImageGS}
"""Name of a method -> its settings."""

How = Anchored | ImageGS
Fit = AnchoredFit | ImageGSFit


@dataclass(frozen=True)
class Fitted:
    """The result of a fit.

    Attributes:
        splats: (M, N, 8), layout `logcov`, sampling `centre`.
        psnr: in decibels, (M,), of the rendered pictures clamped to [0, 1].
        ssim: (M,).
        size: (H, W).
        cells: (rows, columns) of the grid whose cells, in Hilbert's order, the splats belong to;
            None for splats without cells.
    """

    splats: Tensor
    psnr: Tensor
    ssim: Tensor
    size: tuple[int, int]
    cells: tuple[int, int] | None


def fit(
    images: Tensor,
    splats: int = 512,
    *,
    mode: str = "grid",
    progress: Callable[[int], object] | None = None,
    **options: Any,
) -> Fitted:
    """Splats that render to the pictures; the result of a picture does not depend on the others.

    Args:
        images: (M, 3, H, W), or (3, H, W) for one: floats in [0, 1], or bytes.
        splats: N.
        mode: `grid`, see `anchored.Anchored`, or `imagegs`, see `imagegs.ImageGS`.
        progress: called now and then with the number of steps that remain.
        options: fields of the mode's class, such as `steps`.

    Returns: the result, with a leading dimension M, which is 1 for a single picture.

    Raises:
        UsageError: for an unknown mode or option, no splats, or pictures of another form.
    """
    if mode not in MODES:
        raise UsageError(f"unknown mode `{mode}`", expected=f"one of {', '.join(MODES)}")
    known = [each.name for each in fields(MODES[mode])]
    for name in options:
        if name not in known:
            raise UsageError(
                f"unknown option `{name}` of mode `{mode}`", expected=f"one of {', '.join(known)}"
            )
    steps = options.get("steps", 0)
    whole = isinstance(splats, Integral) and isinstance(steps, Integral)
    if not whole or splats < 1 or steps < 0:
        raise UsageError(
            f"{splats} splats in {options.get('steps', 'all')} steps",
            expected="splats >= 1, steps >= 0, both whole",
        )
    pictures = as_unit(images)
    under_way = begin(pictures, MODES[mode](splats=splats, **options))
    while under_way.left:
        under_way.advance(STEPS)
        if progress is not None:
            progress(under_way.left)
    return judged(under_way, pictures)


STEPS = 25
"""Steps between two calls of `progress`."""


def begin(images: Tensor, how: How) -> Fit:
    """A fit of pictures (M, 3, H, W) in [0, 1] before its first step."""
    return AnchoredFit(images, how) if isinstance(how, Anchored) else ImageGSFit(images, how)


def judged(under_way: Fit, images: Tensor) -> Fitted:
    """The splats of a fit, with their PSNR and SSIM."""
    how = under_way.how
    splats = under_way.splats().detach()
    topk = how.topk if isinstance(how, ImageGS) else 0
    scores: list[Tensor] = []
    # One at a time, because a mean over many pictures is summed in another order.
    for one, image in zip(splats.split(1), images.split(1), strict=True):
        found = render(one, *under_way.size, blend=how.blend, topk=topk, form=how.form).clamp(0, 1)
        scores.append(torch.stack([psnr(found, image), ssim(found, image)]))
    reached = torch.cat(scores, 1).cpu()
    return Fitted(splats, reached[0], reached[1], under_way.size, under_way.cells)


def as_unit(images: Tensor) -> Tensor:
    """Pictures as float32 (M, 3, H, W) in [0, 1].

    Raises:
        UsageError: if they have another shape or dtype, are empty, or out of range.
    """
    if not isinstance(images, Tensor):
        raise UsageError(
            f"pictures that are of {type(images).__name__}", expected="a tensor: torch.as_tensor(…)"
        )
    images = images.detach()
    pictures = images[None] if images.dim() == 3 else images
    if pictures.dim() != 4 or pictures.shape[1] != 3 or not pictures.numel():
        raise UsageError(
            f"pictures of shape {tuple(images.shape)}", expected="(M, 3, H, W) or (3, H, W)"
        )
    if pictures.dtype == torch.uint8:
        return pictures.float() / 255
    if not pictures.is_floating_point():
        raise UsageError(f"pictures of {pictures.dtype}", expected="floats in [0, 1], or bytes")
    # False for NaN too.
    if not (pictures.amin() >= 0 and pictures.amax() <= 1):
        raise UsageError("pictures with values outside of [0, 1]", expected="floats in [0, 1]")
    return pictures.float().contiguous()
