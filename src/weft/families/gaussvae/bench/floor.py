"""A lower bound for rendering splats: its arithmetic, with all operands in registers."""

from __future__ import annotations

import numpy as np

from weft.families.gaussvae.forms.compiled import compiled
from weft.families.gaussvae.forms.crew import share
from weft.families.gaussvae.forms.lanes import counted, fused, spread, times, total

_PIECES = 64


def arithmetic(eights: int) -> None:
    """The arithmetic of `kernels.paint` and `kernels.pull` for groups of eight pixels.

    It has no lists and planes, and uses as many threads as rendering would.
    """
    each = -(-eights // _PIECES)
    share(lambda first, last: _picture_and_slopes((last - first) * each, np.float32(1)), _PIECES)


@compiled
def _picture_and_slopes(eights: int, one: float) -> float:
    """The sum of all results, so that the compiler keeps them; `one` is 1, unknown to it."""
    f = np.float32
    w, ratio, fall = spread(one), spread(one), spread(one)
    red, green, blue, weight = spread(one), counted(one), spread(f(0)), counted(f(0))
    for _ in range(eights):
        red, green, blue = fused(w, one, red), fused(w, one, green), fused(w, one, blue)
        weight = fused(w, f(1), weight)
        w, ratio = times(w, ratio), times(ratio, fall)
    below = spread(one)
    by_red, by_green, by_blue = red, green, blue
    here, here_y, here_yy = spread(one), counted(one), weight
    for _ in range(eights):
        by_red, by_green, by_blue = (
            fused(w, red, by_red),
            fused(w, green, by_green),
            fused(w, blue, by_blue),
        )
        t = times(w, fused(one, red, fused(one, green, fused(one, blue, weight))))
        here = fused(t, f(1), here)
        dy = fused(below, f(1), fall)
        t_y = times(t, dy)
        here_y, here_yy = fused(t_y, f(1), here_y), fused(t_y, dy, here_yy)
        below = fused(below, f(1), fall)
        w, ratio = times(w, ratio), times(ratio, fall)
    found = fused(by_red, f(1), fused(by_green, f(1), fused(by_blue, f(1), here)))
    return total(fused(here_y, f(1), fused(here_yy, f(1), found)))
