"""Principal components of pictures: the first layer of the encoder, and the baseline code."""

# N pictures, P = C H W numbers of one, K components

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from weft.nn.dense import product
from weft.nn.precision import full_precision

_CHUNK = 4096


class Principal(nn.Module):
    """A fixed projection onto the principal components of the training pictures.

    It is zero until `fit` is called. The fitted numbers are buffers, and so saved with the weights.

    Args:
        shape: (C, H, W) of a picture.
        components: K, at most P.
    """

    mean: Tensor
    basis: Tensor
    deviation: Tensor

    def __init__(self, shape: tuple[int, int, int], components: int) -> None:
        super().__init__()
        channels, height, width = self.shape = shape
        size = channels * height * width
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", torch.zeros(components, size))
        self.register_buffer("deviation", torch.ones(components))

    @property
    def fitted(self) -> bool:
        """Whether `fit` has been called, here or before the weights were saved."""
        return bool(self.basis.any())

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Computes mean, directions and deviations of the pictures and their mirror images.

        A picture is the sum of a part that mirroring keeps and a part whose sign it changes. With
        mirror images included the two are uncorrelated, so that each has its own directions.

        Directions are in descending order of variance. The largest entry of each is positive, so
        that the basis is unique. If there are fewer directions than components, the others are
        zero. Deviations are at least 1e-4 of the first.

        Args:
            images: (N, C, H, W), uint8 or in [0, 1].
        """
        total = torch.zeros(self.shape, dtype=torch.float64, device=images.device)
        for chunk in images.split(_CHUNK):
            total += _bright(chunk).double().sum(0)
        total = total + total.flip(-1)
        mean = (total / (2 * len(images))).float()
        halves = [self._directions(images, mean, sign) for sign in (1, -1)]
        variances, directions = (torch.cat(parts) for parts in zip(*halves, strict=True))
        order = variances.argsort(descending=True, stable=True)[: len(self.basis)]
        basis, variances = directions[order], variances[order]
        largest = basis.gather(1, basis.abs().argmax(1, keepdim=True))
        self.mean.copy_(mean.flatten())
        self.basis.zero_()
        self.basis[: len(order)] = basis * largest.sign()
        deviation = variances.clamp_min(0).sqrt()
        self.deviation.fill_(1e-4 * float(deviation[0]))
        self.deviation[: len(order)].clamp_(min=deviation)

    def _directions(self, images: Tensor, mean: Tensor, sign: int) -> tuple[Tensor, Tensor]:
        """Variances (R,) and directions (R, P) of (x + sign mirrored x) / 2, R at most N and P.

        Such a picture is determined by its left half, whose columns count twice, and, if `sign` is
        1, its middle column.
        """
        wide = self.shape[-1]
        known = (wide + 1) // 2 if sign == 1 else wide // 2
        root = mean.new_full((known,), math.sqrt(2))
        root[wide // 2 :] = 1

        def halves(chunk: Tensor) -> Tensor:
            centred = _bright(chunk) - mean
            return ((centred + sign * centred.flip(-1)) / 2)[..., :known].mul(root).flatten(1)

        size = mean.numel() // wide * known
        if len(images) < size:
            rows = halves(images)
            values, mixes = torch.linalg.eigh(product(rows, rows) / len(images))
            least = 1e-7 * float(values[-1])
            values, mixes = values[values > least], mixes[:, values > least]
            vectors = mixes.t() @ rows / (values * len(images)).sqrt()[:, None]
        else:
            moment = mean.new_zeros(size, size)
            for chunk in images.split(_CHUNK):
                rows = halves(chunk)
                moment += product(rows.t(), rows.t())
            values, columns = torch.linalg.eigh(moment / len(images))
            vectors = columns.t()
        left = vectors.view(len(values), *self.shape[:-1], known) / root
        whole = left.new_zeros(len(values), *self.shape)
        whole[..., wide - known :] = sign * left.flip(-1)
        whole[..., :known] = left
        return values, whole.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Coefficients (N, K) of pictures (N, C, H, W) in [0, 1]: basis (x - mean)."""
        with full_precision(images.device):
            return product(images.flatten(1) - self.mean, self.basis)

    def back(self, coefficients: Tensor) -> Tensor:
        """Pictures (N, C, H, W) of their first k coefficients (N, k): the best linear code."""
        used = self.basis[: coefficients.shape[1]]
        return (coefficients @ used + self.mean).view(-1, *self.shape)


def _bright(images: Tensor) -> Tensor:
    """Pictures, uint8 or in [0, 1], in [0, 1]."""
    return images.float() / 255 if images.dtype == torch.uint8 else images
