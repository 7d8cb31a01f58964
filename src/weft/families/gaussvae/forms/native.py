"""The native form as one autograd function: compiled kernels over the pictures of a batch."""

# M pictures, N splats, H x W pixels

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from weft.families.gaussvae.forms import kernels
from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.crew import share
from weft.families.gaussvae.forms.laid import chain, lay
from weft.families.gaussvae.forms.reach import FARTHEST, FIELDS, SHAPE, SPARE, STARTS, reach
from weft.families.gaussvae.splats.geometry import BLOCK, Frame
from weft.nn.once import once

_BAND_PIXELS = 32768
"""Number of pixels in rows that are rendered together; their sums stay in a core's cache."""

_SPLATS = 128
"""Number of splats whose gradient is one piece of work."""


def native(splats: Tensor, frame: Frame) -> Tensor:
    """As `reference.blend` for splats (M, N, 8), float32 on the CPU; (M, 3, H, W).

    Results do not depend on M or the number of threads: each row, and each splat's gradient, is
    summed by one thread in a fixed order.
    """
    frame = frame._replace(cut=min(frame.cut, FARTHEST))
    pictures: Tensor = _Native.apply(splats, frame)
    return pictures[..., : frame.width] if frame.width % BLOCK else pictures


class _Native(Function):
    """Pictures, with their width padded to a multiple of eight."""

    @staticmethod
    def forward(ctx: Any, splats: Tensor, frame: Frame) -> Tensor:
        splats = splats.detach().contiguous()
        (pictures, count, _), height = splats.shape, frame.height
        width = -(-frame.width // BLOCK) * BLOCK
        image = splats.new_empty(pictures, 3, height, width)
        shapes = np.empty((pictures, count, SHAPE), np.float32)
        ends, bounds = np.empty((pictures, count), np.int64), np.zeros(pictures + 1, np.int64)
        given = splats.numpy()
        share(lambda first, last: _lay(first, last, given, shapes, ends, bounds, frame), pictures)
        # Where each picture's list ends among those of all.
        np.cumsum(bounds, out=bounds)
        strips = np.empty(bounds[-1] * FIELDS, np.int32)
        starts = np.empty(bounds[-1] * STARTS, np.float32)
        lists = (shapes, ends, bounds, strips, starts)
        inverses = np.empty((pictures, height, width), np.float32)
        least = np.empty_like(inverses) if frame.topk else inverses
        columns = min(width // BLOCK, max(1, _BAND_PIXELS // height // BLOCK // max(1, frame.topk)))
        bands = -(-width // BLOCK // columns)
        arrays = (*lists, inverses, least)
        drawn = image.numpy()
        if bands > 1:
            share(lambda first, last: _reach(first, last, *lists, frame), pictures)
        share(
            lambda first, last: _paint(first, last, bands, columns, *arrays, drawn, frame),
            pictures * bands,
        )
        ctx.frame, ctx.arrays = frame, arrays
        ctx.save_for_backward(splats, image)
        return image

    @staticmethod
    @once
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        splats, image = ctx.saved_tensors
        slopes = torch.empty_like(splats)
        tensors = [each.numpy() for each in (splats, image, slope.contiguous(), slopes)]
        parts = -(-splats.shape[1] // _SPLATS)
        share(
            lambda first, last: _pull(first, last, parts, *ctx.arrays, *tensors, ctx.frame),
            len(splats) * parts,
        )
        return slopes, None


@compiled
def _lay(
    first: int, last: int, splats: Any, shapes: Any, ends: Any, bounds: Any, frame: Frame
) -> None:
    """The pictures `first` to `last`."""
    f = np.float32
    for m in range(first, last):
        bounds[m + 1] = SPARE + lay(
            splats[m], frame.layout, f(frame.height), f(frame.width), f(frame.high), f(frame.wide),
            f(frame.shift), f(frame.cut), shapes[m], ends[m],
        )  # fmt: skip


@compiled
def _reach(
    first: int,
    last: int,
    shapes: Any,
    ends: Any,
    bounds: Any,
    strips: Any,
    starts: Any,
    frame: Frame,
) -> None:
    """The pictures `first` to `last`."""
    for m in range(first, last):
        begin, end = bounds[m], bounds[m + 1]
        reach(
            shapes[m], ends[m], np.float32(frame.cut), frame.height,
            strips[begin * FIELDS : end * FIELDS], starts[begin * STARTS : end * STARTS],
        )  # fmt: skip


@compiled
def _paint(
    first: int,
    last: int,
    bands: int,
    columns: int,
    shapes: Any,
    ends: Any,
    bounds: Any,
    strips: Any,
    starts: Any,
    inverses: Any,
    least: Any,
    image: Any,
    frame: Frame,
) -> None:
    """The bands `first` to `last`, with `bands` in each picture and `columns` of eight pixels each.

    For pictures with more than one band the lists of strips exist already.
    """
    room = columns * BLOCK * frame.height
    plane = kernels.scratch(room * kernels.PLANES)
    best = np.empty(room * frame.topk, np.float32)
    for piece in range(first, last):
        m, left = piece // bands, piece % bands * columns
        if bands == 1:
            # Of a whole picture the list is made here: it is in the cache when it is read.
            _reach(m, m + 1, shapes, ends, bounds, strips, starts, frame)
        right = min(left + columns, image.shape[3] // BLOCK)
        used = (right - left) * BLOCK * frame.height
        begin, end = bounds[m], bounds[m + 1]
        kernels.paint(
            shapes[m], strips[begin * FIELDS : end * FIELDS],
            starts[begin * STARTS : end * STARTS], left, right, frame.normalised, frame.topk,
            best[: used * frame.topk], plane[: used * kernels.PLANES],
            image[m], inverses[m], least[m],
        )  # fmt: skip


@compiled
def _pull(
    first: int,
    last: int,
    parts: int,
    shapes: Any,
    ends: Any,
    bounds: Any,
    strips: Any,
    starts: Any,
    inverses: Any,
    least: Any,
    splats: Any,
    image: Any,
    slope: Any,
    slopes: Any,
    frame: Frame,
) -> None:
    """The parts `first` to `last` of the splats, `parts` in each picture."""
    f = np.float32
    plane = kernels.scratch(inverses[0].size * kernels.PLANES)
    before = -1
    for piece in range(first, last):
        m, start = piece // parts, piece % parts * _SPLATS
        stop = min(start + _SPLATS, splats.shape[1])
        if m != before:
            kernels.turn(
                image[m], inverses[m], least[m], slope[m], frame.normalised, frame.topk, plane
            )
            before = m
        begin, end = bounds[m], bounds[m + 1]
        kernels.pull(
            shapes[m], ends[m], strips[begin * FIELDS : end * FIELDS],
            starts[begin * STARTS : end * STARTS], start, stop, frame.topk, frame.height,
            plane, slopes[m],
        )  # fmt: skip
        chain(
            splats[m], frame.layout, f(frame.height), f(frame.width), f(frame.high), f(frame.wide),
            start, stop, slopes[m],
        )  # fmt: skip
