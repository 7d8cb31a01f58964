"""What was found of one picture, in numpy, as it goes to files and tables."""

# N splats

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weft.families.gaussvae.splats.fit import Fitted


@dataclass(frozen=True)
class Result:
    """A picture's splats, and how near they come to it.

    Attributes:
        splats: (N, 8), layout `logcov`, sampling `centre`.
        psnr, ssim: see `fit.Fitted`.
        cells: (rows, columns) of its grid, or None.
        seconds: that it took, its share of what was fitted at once with it.
    """

    splats: NDArray[np.float32]
    psnr: float
    ssim: float
    cells: tuple[int, int] | None
    seconds: float


def results_of(found: Fitted, seconds: float) -> list[Result]:
    """What was found of each picture; the time is shared evenly."""
    splats = found.splats.cpu().numpy()
    scores = zip(splats, found.psnr.tolist(), found.ssim.tolist(), strict=True)
    return [Result(*one, found.cells, seconds / len(splats)) for one in scores]
