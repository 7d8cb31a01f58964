"""The least that drawing splats takes: their weights, eight at a time, and nothing more."""

from __future__ import annotations

import numpy as np

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.crew import share
from weft.families.gaussvae.forms.kernels import weight_at
from weft.families.gaussvae.forms.lanes import counted, fused, spread, total

_PIECES = 64


def weights(blocks: int) -> None:
    """Computes `blocks` times eight weights, on as many threads as pictures would."""
    each = -(-blocks // _PIECES)
    share(lambda first, last: _sum((last - first) * each), _PIECES)


@compiled
def _sum(blocks: int) -> float:
    """Their sum, lest the compiler leaves them out."""
    f = np.float32
    found = spread(f(0))
    for block in range(blocks):
        dx = counted(f(block & 7) - f(4))
        found = fused(weight_at(dx, f(-0.7), f(-0.1), f(-0.7)), f(1), found)
    return total(found)
