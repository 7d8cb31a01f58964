"""The gradient of a fit's error by its picture, for absolute error, squared error and SSIM."""

# C channels, H x W pixels, h x w places where SSIM's window lies within the picture

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from weft.families.gaussvae.forms.dispatch import has_numba
from weft.families.gaussvae.splats.quality import C1, C2, window


class Likeness:
    """The gradient of l1 mean|error| + l2 mean error^2 + dissimilarity (1 - SSIM) by the picture.

    It is written by hand, because a fit needs it thousands of times for one target picture: the
    target's part of SSIM is computed once, and autograd would store about eighty pictures.

    Args:
        wanted: the target, floats (C, H, W).
        l1, l2, dissimilarity: weights.
        compiled: whether to use the numba kernel if possible.
    """

    def __init__(
        self,
        wanted: Tensor,
        l1: float,
        l2: float,
        dissimilarity: float,
        *,
        compiled: bool = True,
    ) -> None:
        self.wanted = wanted.contiguous()
        self.window = window(*wanted.shape[-2:]).to(wanted)
        self.mean, square = self._blurred(torch.stack([wanted, wanted.square()]))
        self.variance = square - self.mean.square()
        plain = wanted.device.type == "cpu" and wanted.dtype == torch.float32
        self.compiled = compiled and plain and has_numba()
        self.weights = (l1 / wanted.numel(), l2 / wanted.numel(), dissimilarity / self.mean.numel())

    def slope(self, found: Tensor) -> Tensor:
        """d loss / d found, both (C, H, W)."""
        if self.compiled:
            from weft.families.gaussvae.forms.likeness_kernel import slope

            return slope(
                found.contiguous(), self.wanted, self.mean.contiguous(), self.variance,
                self.window, self.weights, (C1, C2),
            )  # fmt: skip
        l1, l2, dissimilarity = self.weights
        error = found - self.wanted
        out = l1 * error.sign() + 2 * l2 * error
        return out.sub_(self._likeness(found), alpha=dissimilarity) if dissimilarity else out

    def _likeness(self, found: Tensor) -> Tensor:
        """d (sum of SSIM) / d found."""
        moments = self._blurred(torch.stack([found, found.square(), found * self.wanted]))
        m, n = moments[0], self.mean
        s_m, s_mn = moments[1] - m.square(), moments[2] - m * n
        same, alike = 2 * m * n + C1, 2 * s_mn + C2
        means, spreads = m.square() + n.square() + C1, s_m + self.variance + C2
        inverse = (means * spreads).reciprocal()
        ssim = same * alike * inverse
        by_square, by_product = -ssim / spreads, 2 * same * inverse
        by_mean = 2 * n * alike * inverse - 2 * m * ssim / means
        by_m = by_mean - 2 * m * by_square - n * by_product
        reach = len(self.window) - 1
        one, two, three = self._blurred(torch.stack([by_m, by_square, by_product]), reach)
        return one + 2 * found * two + self.wanted * three

    def _blurred(self, planes: Tensor, border: int = 0) -> Tensor:
        """Windowed means of planes (..., H, W) padded by `border` zeros, at valid positions."""
        lines = planes.flatten(0, -3)[None]
        count = lines.shape[1]
        # A plane a group: torch computes these itself, in all digits of float32, on GPUs too.
        weights = self.window.expand(count, 1, 1, -1)
        lines = F.conv2d(lines, weights, padding=(0, border), groups=count)
        weights = weights.transpose(2, 3)
        lines = F.conv2d(lines, weights, padding=(border, 0), groups=count)
        return lines[0].unflatten(0, planes.shape[:-2])
