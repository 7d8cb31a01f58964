"""The result of fitting one picture, in numpy, for files and tables."""

# N splats

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weft.families.gaussvae.splats.fit import Fitted


@dataclass(frozen=True)
class Result:
    """A picture's splats and their quality.

    Attributes:
        splats: (N, 8), layout `logcov`, sampling `centre`.
        psnr, ssim: see `fit.Fitted`.
        cells: (rows, columns) of its grid, or None.
        seconds: time of the fit, divided evenly over pictures that are fitted at once.
    """

    splats: NDArray[np.float32]
    psnr: float
    ssim: float
    cells: tuple[int, int] | None
    seconds: float


def results_of(found: Fitted, seconds: float) -> list[Result]:
    """The result of each picture; the time is divided evenly."""
    splats = found.splats.cpu().numpy()
    scores = zip(splats, found.psnr.tolist(), found.ssim.tolist(), strict=True)
    return [Result(*one, found.cells, seconds / len(splats)) for one in scores]
