"""The losses that stand at the family's door, in a training loop of anyone's own."""

from __future__ import annotations

import torch

from weft.families import jepa


def test_every_loss_is_a_function_of_codes_with_a_gradient() -> None:
    e = torch.randn(4, 6, 5, requires_grad=True)
    h = torch.randn(4, 6, 5, requires_grad=True)
    lines = torch.nn.functional.normalize(torch.randn(5, 8), dim=0)
    losses = {
        "variance_hinge": jepa.variance_hinge(0.1 * e),
        "covariance": jepa.covariance(e),
        "var_ratio": jepa.var_ratio(e),
        "infonce": jepa.infonce(h, e, 0.1),
        "nt_xent": jepa.nt_xent(h, e, 0.5, normalise=True),
        "within_infonce": jepa.within_infonce(h, e, 0.1),
        "sigreg": jepa.sigreg(jepa.centred(e)[0], lines, 17),
    }
    assert {*losses, "centred", "FAMILY", "MovingDots"} == set(jepa.__all__)
    for name, loss in losses.items():
        (gradient,) = torch.autograd.grad(loss, [e])
        assert gradient.any(), name
