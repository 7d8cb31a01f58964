"""The losses that stand at the family's door, in a training loop of anyone's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from weft.errors import UsageError
from weft.families import jepa

LINES = torch.nn.functional.normalize(torch.randn(5, 8), dim=0)
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "variance_hinge": lambda h, e: jepa.variance_hinge(0.1 * e),
    "covariance": lambda h, e: jepa.covariance(e),
    "var_ratio": lambda h, e: jepa.var_ratio(e),
    "infonce": lambda h, e: jepa.infonce(h, e, 0.1),
    "nt_xent": lambda h, e: jepa.nt_xent(h, e, 0.5, normalise=True),
    "within_infonce": lambda h, e: jepa.within_infonce(h, e, 0.1),
    "sigreg": lambda h, e: jepa.sigreg(jepa.centred(e)[0], LINES, 17),
}


def test_every_loss_is_a_function_of_codes_with_a_gradient() -> None:
    e = torch.randn(4, 6, 5, requires_grad=True)
    h = torch.randn(4, 6, 5, requires_grad=True)
    assert {*LOSSES, "centred", "FAMILY", "MovingDots"} == set(jepa.__all__)
    for name, loss in LOSSES.items():
        (gradient,) = torch.autograd.grad(loss(h, e), [e])
        assert gradient.any(), name


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("name", LOSSES)
def test_over_a_batch_of_one_a_loss_and_its_gradient_are_numbers_or_refused(
    name: str, frames: int
) -> None:
    h, e = torch.randn(2, frames, 1, 5, requires_grad=True).unbind()
    refused = ["no spread"] * (name in ("variance_hinge", "covariance"))
    refused += ["no frame that was predicted"] * (frames == 1 and "infonce" in name)
    if refused:
        with pytest.raises(UsageError, match=refused[0]):
            LOSSES[name](h, e)
        return
    loss = LOSSES[name](h, e)
    (gradient,) = torch.autograd.grad(loss, [e])
    assert torch.isfinite(loss) and torch.isfinite(gradient).all()
