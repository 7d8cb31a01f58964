"""Principal components of pictures: the first layer of the encoder, and the code to beat."""

# N pictures, P = C H W numbers of one, K components

from __future__ import annotations

import torch
from torch import Tensor, nn

from weft.nn.dense import product
from weft.nn.precision import full_precision

_CHUNK = 4096


class Principal(nn.Module):
    """A fixed projection onto the principal components of the training pictures.

    Until `fit` it is all zeros. What was fitted lies in buffers: weights carry it.

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
        """Takes mean, directions and deviations of the pictures and of their mirror images.

        Directions come in falling order of variance; of each the largest entry is positive, so
        that the basis does not depend on who computed it. Deviations are floored at 1e-4 of the
        first, so that fewer pictures than components do no harm.

        Args:
            images: (N, C, H, W), uint8 or in [0, 1].
        """
        size = self.mean.numel()
        total = torch.zeros(size, dtype=torch.float64, device=images.device)
        moment = torch.zeros(size, size, device=images.device)
        for chunk in images.split(_CHUNK):
            total += as_rows(chunk).double().sum(0)
        mean = self._mirrored((total / len(images)).float()[None])[0]
        mean = 0.5 * (mean + (total / len(images)).float())
        for chunk in images.split(_CHUNK):
            rows = as_rows(chunk) - mean
            moment += product(rows.t(), rows.t())
        moment /= len(images)
        # The moment of the mirror images is that of the pictures, rows and columns exchanged.
        moment = 0.5 * (moment + self._mirrored(self._mirrored(moment).t()).t())
        values, vectors = torch.linalg.eigh(moment)
        count = len(self.basis)
        basis = vectors.flip(1)[:, :count].t().contiguous()
        largest = basis.gather(1, basis.abs().argmax(1, keepdim=True))
        deviation = values.flip(0)[:count].clamp_min(0).sqrt()
        self.mean.copy_(mean)
        self.basis.copy_(basis * largest.sign())
        self.deviation.copy_(deviation.clamp_min(1e-4 * float(deviation[0])))

    def forward(self, images: Tensor) -> Tensor:
        """Coefficients (N, K) of pictures (N, C, H, W) in [0, 1]: basis (x - mean)."""
        with full_precision(images.device):
            return product(images.flatten(1) - self.mean, self.basis)

    def back(self, coefficients: Tensor) -> Tensor:
        """Pictures (N, C, H, W) of their first k coefficients (N, k): the best linear code."""
        used = self.basis[: coefficients.shape[1]]
        return (coefficients @ used + self.mean).view(-1, *self.shape)

    def _mirrored(self, rows: Tensor) -> Tensor:
        """Each of the rows (R, P) as a picture, left and right exchanged."""
        return rows.view(-1, *self.shape).flip(-1).reshape(len(rows), -1)


def as_rows(images: Tensor) -> Tensor:
    """Pictures (N, C, H, W), uint8 or in [0, 1], as rows (N, P) of float32 in [0, 1]."""
    rows = images.flatten(1).float()
    return rows / 255 if images.dtype == torch.uint8 else rows
