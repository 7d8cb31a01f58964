"""The native form: compiled kernels over the pictures of a batch, as one step of autograd."""

# M pictures, N splats, H x W pixels

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from weft.families.gaussvae.forms import kernels
from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.crew import share
from weft.families.gaussvae.splats.geometry import BLOCK, Frame

_BAND_PIXELS = 8192
"""Pixels of the rows that are painted together: their sums stay in a core's cache."""

_SPLATS = 128
"""Splats whose gradient is one piece of work."""


def native(splats: Tensor, frame: Frame) -> Tensor:
    """What `reference.blend` gives of the splats (M, N, 8), float32 on the CPU; (M, 3, H, W).

    The same numbers at any M and any number of threads: each row and each splat's gradient is
    summed by one thread in one order.
    """
    pictures: Tensor = _Native.apply(splats, frame)
    return pictures[..., : frame.width] if frame.width % BLOCK else pictures


class _Native(Function):
    """Pictures as wide as the next multiple of eight."""

    @staticmethod
    def forward(ctx: Any, splats: Tensor, frame: Frame) -> Tensor:
        splats = splats.detach().contiguous()
        pictures, height = len(splats), frame.height
        width = -(-frame.width // BLOCK) * BLOCK
        shapes = torch.empty_like(splats)
        image = splats.new_empty(pictures, 3, height, width)
        weight = splats.new_empty(pictures, height, width)
        least = splats.new_empty(pictures, height, width) if frame.topk else weight
        rows = min(height, max(1, _BAND_PIXELS // width // max(1, frame.topk)))
        bands = -(-height // rows)
        arrays = [each.numpy() for each in (splats, shapes, image, weight, least)]
        share(lambda first, last: _lay(first, last, *arrays[:2], frame), pictures)
        share(
            lambda first, last: _paint(first, last, bands, rows, *arrays[1:], frame),
            pictures * bands,
        )
        ctx.frame = frame
        ctx.save_for_backward(splats, shapes, image, weight, least)
        return image

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        splats = ctx.saved_tensors[0]
        slopes = torch.empty_like(splats)
        tensors = (*ctx.saved_tensors, slope.contiguous(), slopes)
        arrays = [each.numpy() for each in tensors]
        parts = -(-splats.shape[1] // _SPLATS)
        share(
            lambda first, last: _pull(first, last, parts, *arrays, ctx.frame),
            len(splats) * parts,
        )
        return slopes, None


@compiled
def _lay(first: int, last: int, splats: Any, shapes: Any, frame: Frame) -> None:
    """The pictures `first` to `last`."""
    f = np.float32
    for m in range(first, last):
        kernels.lay(
            splats[m], frame.layout, f(frame.height), f(frame.width), f(frame.high), f(frame.wide),
            f(frame.shift), shapes[m],
        )  # fmt: skip


@compiled
def _paint(
    first: int,
    last: int,
    bands: int,
    rows: int,
    shapes: Any,
    image: Any,
    weight: Any,
    least: Any,
    frame: Frame,
) -> None:
    """The bands `first` to `last`, of `bands` in each picture and `rows` each."""
    room = rows * image.shape[3]
    plane = np.empty(room * kernels.PLANES, np.float32)
    best = np.empty(room * frame.topk, np.float32)
    for piece in range(first, last):
        m, top = piece // bands, piece % bands * rows
        bottom = min(top + rows, frame.height)
        used = (bottom - top) * image.shape[3]
        kernels.paint(
            shapes[m], top, bottom, np.float32(frame.cut), frame.normalised, frame.topk,
            best[: used * frame.topk], plane[: used * kernels.PLANES],
            image[m], weight[m], least[m],
        )  # fmt: skip


@compiled
def _pull(
    first: int,
    last: int,
    parts: int,
    splats: Any,
    shapes: Any,
    image: Any,
    weight: Any,
    least: Any,
    slope: Any,
    slopes: Any,
    frame: Frame,
) -> None:
    """The parts `first` to `last` of the splats, `parts` in each picture."""
    f = np.float32
    plane = np.empty(weight[0].size * kernels.PLANES, np.float32)
    before = -1
    for piece in range(first, last):
        m, start = piece // parts, piece % parts * _SPLATS
        end = min(start + _SPLATS, splats.shape[1])
        if m != before:
            kernels.turn(
                image[m], weight[m], least[m], slope[m], frame.normalised, frame.topk, plane
            )
            before = m
        kernels.pull(
            shapes[m], start, end, f(frame.cut), frame.topk, frame.height, plane, slopes[m]
        )
        kernels.chain(
            splats[m], frame.layout, f(frame.height), f(frame.width), f(frame.high), f(frame.wide),
            start, end, slopes[m],
        )  # fmt: skip
