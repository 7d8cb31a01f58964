"""SIGReg against numerical integration, and what it says of Gaussian and collapsed codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from weft.families.jepa.reference import written_out
from weft.families.jepa.terms.sigreg import HIGHEST, random_directions, sigreg

LINES, KNOTS = 3, 17


def _case(rows: int = 12, width: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    return z, random_directions(z, LINES, generator)


def test_directions_have_length_one() -> None:
    _, lines = _case()
    torch.testing.assert_close(lines.norm(dim=0), torch.ones(LINES, dtype=torch.float64))


def test_statistic_equals_the_loop_over_lines_and_frequencies_with_gradients() -> None:
    z, lines = _case()
    z.requires_grad_()
    fast, slow = sigreg(z, lines, KNOTS), written_out.sigreg(z, lines, KNOTS)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        torch.autograd.grad(fast, z)[0], torch.autograd.grad(slow, z)[0], rtol=1e-9, atol=1e-10
    )


def test_trapezoids_come_close_to_the_integral() -> None:
    z, lines = _case()
    values = []
    for projected in (z @ lines).T.numpy():

        def integrand(w: float, x: np.ndarray = projected) -> float:
            phi, gauss = np.exp(1j * w * x).mean(), np.exp(-(w**2) / 2)
            return float(abs(phi - gauss) ** 2 * gauss)

        values.append(len(z) * quad(integrand, -HIGHEST, HIGHEST)[0])
    assert sigreg(z, lines, KNOTS).item() == pytest.approx(np.mean(values), rel=1e-3)


def test_gaussian_codes_cost_order_one_and_collapsed_codes_order_of_their_number() -> None:
    generator = torch.Generator().manual_seed(0)
    lines = random_directions(torch.zeros(1, 8), 32, generator)
    gaussian = sigreg(torch.randn(1000, 8, generator=generator), lines, KNOTS).item()
    collapsed = sigreg(torch.zeros(1000, 8), lines, KNOTS).item()
    assert gaussian < 2
    assert collapsed > 100
