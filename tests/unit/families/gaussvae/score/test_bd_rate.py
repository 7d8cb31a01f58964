"""BD-rate: signs and sizes by hand, interpolation beside scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.families.gaussvae.score.bd_rate import Curve, bd_rate, pchip

PSNR = np.array([18.0, 20.0, 21.0, 24.0])
BITS = np.array([100.0, 160.0, 200.0, 400.0])


def curve(bits: np.ndarray, psnr: np.ndarray = PSNR) -> Curve:
    return Curve(bits, psnr, np.zeros_like(bits))


def test_half_the_bits_everywhere_is_minus_one_half_and_the_other_way_plus_one() -> None:
    assert bd_rate(curve(BITS / 2), curve(BITS)) == pytest.approx(-0.5)
    assert bd_rate(curve(BITS), curve(BITS / 2)) == pytest.approx(1.0)
    assert bd_rate(curve(BITS), curve(BITS)) == 0


def test_only_qualities_that_both_reach_count() -> None:
    high = curve(BITS[2:] / 4, PSNR[2:])
    assert bd_rate(high, curve(BITS)) == pytest.approx(-0.75, abs=0.02)
    assert bd_rate(curve(BITS, PSNR + 9), curve(BITS)) is None


def test_points_that_others_beat_are_left_out() -> None:
    worse = curve(np.append(BITS, [150.0, 300.0]), np.append(PSNR, [17.0, 20.5]))
    assert bd_rate(worse, curve(BITS)) == 0


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(0.1, 5), st.floats(-3, 3)), min_size=1, max_size=9))
def test_pchip_is_scipy_s(steps: list[tuple[float, float]]) -> None:
    interpolate = pytest.importorskip("scipy.interpolate", reason="scipy is not installed")
    x, y = np.cumsum([(0.0, 1.0), *steps], 0).T
    places = np.linspace(x[0], x[-1], 50)
    wanted = interpolate.PchipInterpolator(x, y)(places)
    assert pchip(x, y, places) == pytest.approx(wanted, abs=1e-9)


def test_bd_rate_is_that_of_exact_integrals() -> None:
    interpolate = pytest.importorskip("scipy.interpolate", reason="scipy is not installed")
    other, psnr = np.array([90.0, 120.0, 250.0, 330.0]), np.array([18.5, 19.5, 22.0, 23.0])
    integral = [
        interpolate.PchipInterpolator(x, np.log(y)).integrate(18.5, 23.0)
        for x, y in ((psnr, other), (PSNR, BITS))
    ]
    wanted = np.exp((integral[0] - integral[1]) / 4.5) - 1
    assert bd_rate(curve(other, psnr), curve(BITS)) == pytest.approx(wanted, rel=1e-5)
