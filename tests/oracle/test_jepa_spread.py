"""Spread of codes: the Gram form against explicit covariances, and what each term cannot see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from weft.families.jepa.reference import written_out
from weft.families.jepa.terms.spread import centred, covariance, var_ratio, variance_hinge

FRAMES = 5


def _codes(batch: int, width: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(FRAMES, batch, width, generator=generator, dtype=dtype)
    return (z @ torch.randn(width, width, generator=generator, dtype=dtype)).requires_grad_()


def _static(batch: int, width: int) -> Tensor:
    """The trivial solution: one Gaussian code for each sequence, the same in all its frames."""
    code = torch.randn(batch, width, generator=torch.Generator().manual_seed(0))
    return code.expand(FRAMES, -1, -1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("batch", "width"), [(4, 16), (16, 4), (8, 8), (2, 1)])
@pytest.mark.parametrize("term", ["covariance", "variance_hinge"])
def test_fused_terms_equal_explicit_matrices_with_gradients(
    term: str, batch: int, width: int, dtype: torch.dtype, tolerance: float
) -> None:
    z = _codes(batch, width, dtype)
    fast = {"covariance": covariance, "variance_hinge": variance_hinge}[term](z)
    slow = written_out.each(getattr(written_out, term), z)
    torch.testing.assert_close(fast, slow, rtol=tolerance, atol=tolerance)
    gradients = [torch.autograd.grad(loss, z)[0] for loss in (fast, slow)]
    scale = gradients[1].abs().max().item() + 1e-30
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance * scale)


def test_covariance_equals_torch_cov() -> None:
    z = _codes(6, 9)
    matrices = torch.stack([frame.T.cov() for frame in z])
    off = matrices - torch.diag_embed(matrices.diagonal(dim1=1, dim2=2))
    torch.testing.assert_close(covariance(z), off.square().sum((1, 2)).mean() / 9)


def test_codes_of_unit_variance_cost_no_variance() -> None:
    z = _codes(8, 4).detach()
    unit = (z - z.mean(1, keepdim=True)) / z.std(1, keepdim=True)
    assert variance_hinge(unit).item() == 0.0
    assert variance_hinge(torch.zeros(FRAMES, 8, 4)).item() == pytest.approx(1 - 1e-2)


def test_the_trivial_solution_satisfies_vicreg() -> None:
    """Codes that hold the background alone: no prediction error, full spread, little covariance."""
    batch, width = 512, 64
    e = _static(batch, width)
    assert (e[1:] - e[:-1]).square().mean().item() == 0.0  # What predicts "nothing moves" is right.
    assert variance_hinge(e).item() < 0.03
    assert covariance(e).item() == pytest.approx(width / (batch - 1), rel=0.05)


def test_terms_within_a_sequence_see_the_trivial_solution() -> None:
    e = _static(64, 16)
    assert variance_hinge(centred(e)).item() == pytest.approx(1 - 1e-2, abs=1e-4)
    assert var_ratio(e).item() == pytest.approx(1.0, abs=1e-5)


def test_codes_that_change_evenly_are_not_called_static() -> None:
    moving = torch.randn(64, 256, 8, generator=torch.Generator().manual_seed(1))
    assert var_ratio(moving).item() == pytest.approx(1 / 64, rel=0.1)
    assert variance_hinge(centred(moving)).item() < 0.02


def test_the_share_of_static_variance_is_blind_to_scale_and_shift() -> None:
    z = _codes(6, 3).detach()
    torch.testing.assert_close(var_ratio(7 * z + 3), var_ratio(z))


def test_collapsed_codes_have_no_static_share_and_a_finite_gradient() -> None:
    z = torch.zeros(FRAMES, 4, 3, requires_grad=True)
    ratio = var_ratio(z)
    ratio.backward()
    assert ratio.item() == 0.0
    assert z.grad is not None and bool(torch.isfinite(z.grad).all())
