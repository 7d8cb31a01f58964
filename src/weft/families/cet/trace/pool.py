"""Average pooling after a ReLU, and its adjoint combined with the ReLU's gate.

Windows that tile the image are summed row by row, in either memory layout. On a CPU this is several
times faster than `avg_pool2d` on contiguous images. Other geometries are left to torch.
"""

# N images (R C of them when contiguous, R when channels last), h w windows, p q their size

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from weft.families.cet.trace.layout import channels_last

aten = torch.ops.aten


class Pool(NamedTuple):
    """Geometry of an average pool, with the arguments of `torch.nn.AvgPool2d` in their order."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor: int | None = None

    def tiles(self, image: Tensor) -> bool:
        """Whether the windows cover `image` (R, C, H, W) without gaps, overlaps or padding."""
        fits = image.shape[2] % self.kernel[0] == image.shape[3] % self.kernel[1] == 0
        return fits and self.stride == self.kernel and not any(self.padding) and not self.divisor

    def average(self, image: Tensor) -> Tensor:
        """Mean of each window; (R, C, H, W) to (R, C, h, w)."""
        if not self.tiles(image):
            return functional.avg_pool2d(image, *self)
        rows = reduce(torch.add, self._windows(image).unbind(2))  # (N, h, w, q, last)
        sums = reduce(torch.add, rows.unbind(3))
        return _restore(sums * (1 / self.area), image, *sums.shape[1:3])

    def share(self, error: Tensor, image: Tensor) -> Tensor:
        """Error of each window (R, C, h, w) spread evenly over its pixels, laid out as `image`."""
        if not self.tiles(image):
            shared: Tensor = aten.avg_pool2d_backward(error, image, *self)
            return shared
        p, q = self.kernel
        n, height, width, last = _images(image, image).shape
        h, w = height // p, width // q
        shares = _images(error, image).view(n, h, 1, w, 1, last) * (1 / self.area)
        return _restore(shares.expand(n, h, p, w, q, last).reshape(-1), image, *image.shape[2:])

    def spread(self, error: Tensor, hidden: Tensor) -> Tensor:
        """Error of each window spread evenly over its pixels, where `hidden` > 0; else 0.

        Args:
            error: gradient at the pool's output, shape (R, C, h, w).
            hidden: the pool's input, shape (R, C, H, W), outputs of a ReLU.
        Returns: gradient at the ReLU's input, shape (R, C, H, W), in the layout of `hidden`.
        """
        if not self.tiles(hidden):
            error = aten.avg_pool2d_backward(error, hidden, *self)
            return aten.threshold_backward(error, hidden, 0)
        n, h, p, w, q, last = (windows := self._windows(hidden)).shape
        shares = _images(error, hidden).view(n, h, w, 1, last) * (1 / self.area)
        rows = shares.expand(n, h, w, q, last).reshape(n, h, 1, -1).expand(n, h, p, -1)
        gated = aten.threshold_backward(rows, windows.reshape(n, h, p, -1), 0)
        return _restore(gated, hidden, *hidden.shape[2:])

    def energy(self, error: Tensor, hidden: Tensor) -> Tensor:
        """Sum of squares of each row's spread error before the gate; shape (R,)."""
        if self.tiles(hidden):
            return torch.linalg.vector_norm(error.flatten(1), dim=1).square() / self.area
        spread = aten.avg_pool2d_backward(error, hidden, *self)
        return torch.linalg.vector_norm(spread.flatten(1), dim=1).square()

    @property
    def area(self) -> int:
        """Pixels in a window."""
        return self.kernel[0] * self.kernel[1]

    def _windows(self, image: Tensor) -> Tensor:
        """The image as (N, h, p, w, q, last)."""
        p, q = self.kernel
        n, height, width, last = (images := _images(image, image)).shape
        return images.view(n, height // p, p, width // q, q, last)


def _images(image: Tensor, like: Tensor) -> Tensor:
    """`image` as (N, H, W, last) in the memory layout of `like`: last is C or 1."""
    if channels_last(like):
        return image.permute(0, 2, 3, 1).contiguous()
    return image.contiguous().view(-1, *image.shape[2:], 1)


def _restore(images: Tensor, like: Tensor, height: int, width: int) -> Tensor:
    """`images` as (R, C, height, width), undoing `_images`."""
    if channels_last(like):
        return images.view(like.shape[0], height, width, like.shape[1]).permute(0, 3, 1, 2)
    return images.view(*like.shape[:2], height, width)
