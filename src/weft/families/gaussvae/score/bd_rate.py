"""Rate-distortion curves and the BD-rate, the difference of rates at equal quality."""

# K points

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_SAMPLES = 2001


@dataclass(frozen=True)
class Curve:
    """Rates and PSNR of a code on a set of pictures at K operating points.

    Attributes:
        bits: per picture without its header, mean over pictures, (K,).
        psnr: in decibels, mean over pictures, (K,).
        header: bits of a picture's header, mean over pictures, (K,).
    """

    bits: Floats
    psnr: Floats
    header: Floats

    @property
    def front(self) -> tuple[Floats, Floats]:
        """Bits and PSNR of the Pareto-optimal points, both ascending."""
        order = np.lexsort((-self.psnr, self.bits))
        bits, psnr = self.bits[order], self.psnr[order]
        best = np.concatenate(([-np.inf], np.maximum.accumulate(psnr)[:-1]))
        kept = psnr > best
        return bits[kept], psnr[kept]


def bd_rate(curve: Curve, anchor: Curve) -> float | None:
    """Bjontegaard's mean difference of rate at equal PSNR, as a share: -0.2 is 20 % fewer bits.

    exp(mean over PSNR of log bits(PSNR) - log bits_anchor(PSNR)) - 1, over the range of PSNR that
    both curves cover, each interpolated by monotone piecewise cubics (PCHIP).

    Returns: the difference, or None if the ranges do not overlap.
    """
    (bits, psnr), (bits_anchor, psnr_anchor) = curve.front, anchor.front
    low, high = max(psnr[0], psnr_anchor[0]), min(psnr[-1], psnr_anchor[-1])
    if not low < high:
        return None
    places = np.linspace(low, high, _SAMPLES)
    apart = pchip(psnr, np.log(bits), places) - pchip(psnr_anchor, np.log(bits_anchor), places)
    return float(np.expm1(np.trapezoid(apart, places) / (high - low)))


def pchip(x: Floats, y: Floats, places: Floats) -> Floats:
    """Values at `places` of the monotone piecewise cubic through (x, y), without overshoot.

    Slopes are weighted harmonic means of those of the neighbouring chords, 0 if these differ in
    sign (Fritsch and Butland 1984), with three-point formulas at the ends.

    Args:
        x: ascending, at least 2 values.
        y: of the same length.
        places: between the first and the last of `x`.
    """
    steps, chords = np.diff(x), np.diff(y) / np.diff(x)
    if len(x) == 2:
        return y[0] + chords[0] * (places - x[0])
    slopes = np.zeros_like(y)
    before, after = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
    agree = chords[:-1] * chords[1:] > 0
    first, second = np.where(agree, chords[:-1], 1), np.where(agree, chords[1:], 1)
    harmonic = (before + after) / (before / first + after / second)
    slopes[1:-1] = np.where(agree, harmonic, 0)
    slopes[0] = _end(steps[0], steps[1], chords[0], chords[1])
    slopes[-1] = _end(steps[-1], steps[-2], chords[-1], chords[-2])
    cell = np.clip(np.searchsorted(x, places, "right") - 1, 0, len(steps) - 1)
    step, t = steps[cell], (places - x[cell]) / steps[cell]
    left = (1 + 2 * t) * (1 - t) ** 2 * y[cell] + t * (1 - t) ** 2 * step * slopes[cell]
    right = t**2 * (3 - 2 * t) * y[cell + 1] + t**2 * (t - 1) * step * slopes[cell + 1]
    return left + right


def _end(step: float, next_step: float, chord: float, next_chord: float) -> float:
    """The slope at an end, limited so that the outer piece stays monotone."""
    slope = ((2 * step + next_step) * chord - step * next_chord) / (step + next_step)
    if slope * chord <= 0:
        return 0.0
    if chord * next_chord <= 0 and abs(slope) > 3 * abs(chord):
        return 3 * chord
    return slope
