"""The original's optimiser inside a run: chosen by the config, in groups, with closures."""

from __future__ import annotations

import pytest
import torch

from weft.config.family import resolve
from weft.config.recipe import kind_of
from weft.families.warp import FAMILY
from weft.families.warp.optim.adabelief import AdaBelief
from weft.families.warp.optim.plateau import LiteralSchedule
from weft.families.warp.options.sections import LiteralPlateau, Reference


def test_the_kinds_build_what_their_names_say() -> None:
    weight = torch.zeros(2, requires_grad=True)
    build = resolve(kind_of(FAMILY, "optim", "reference").build)
    optimiser = build(Reference(lr=3e-4, eps_root=1e-12), [{"params": [weight]}])
    assert isinstance(optimiser, AdaBelief)
    group = optimiser.param_groups[0]
    assert (group["lr"], group["beta1"], group["beta2"]) == (3e-4, 0.9, 0.999)
    assert (group["eps"], group["eps_root"]) == (1e-16, 1e-12)
    made = resolve(kind_of(FAMILY, "schedule", "literal").build)(LiteralPlateau(), 10)
    assert isinstance(made, LiteralSchedule)


def test_groups_keep_rates_of_their_own() -> None:
    slow, fast = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimiser = AdaBelief([{"params": [slow], "lr": 1e-3}, {"params": [fast], "lr": 1e-1}])
    for weight in (slow, fast):
        weight.grad = torch.ones_like(weight)
    optimiser.step()
    assert float(fast.detach()) == pytest.approx(100 * float(slow.detach()), rel=1e-12)


def test_a_weight_without_gradient_stays() -> None:
    still, moved = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    moved.grad = torch.ones_like(moved)
    optimiser = AdaBelief([still, moved], lr=1e-2)
    optimiser.step()
    assert torch.equal(still, torch.ones(2))
    assert not torch.equal(moved, torch.ones(2))
    assert still not in optimiser.state


def test_a_closure_is_called_with_gradients_and_its_loss_returned() -> None:
    weight = torch.ones(1, requires_grad=True)
    optimiser = AdaBelief([weight], lr=1e-2)

    def closure() -> float:
        optimiser.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return float(loss.detach())

    assert optimiser.step(closure) == 1.0
    assert float(weight.detach()) < 1.0


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3, 4)])
def test_tensors_of_any_shape_are_updated(shape: tuple[int, ...]) -> None:
    weight = torch.zeros(shape, requires_grad=True)
    weight.grad = torch.ones_like(weight)
    AdaBelief([weight], lr=1.0).step()
    # From rest, m-hat = g and v-hat = (0.9 g)^2 + 1e-13.
    torch.testing.assert_close(weight.detach(), torch.full(shape, -1 / 0.9))
