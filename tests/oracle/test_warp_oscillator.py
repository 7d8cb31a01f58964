"""The oscillator root against exact motions, in each form of the recurrence and beyond its data."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from weft.families.warp.cell.formula import FormulaRoot
from weft.families.warp.cell.oscillator import MEMORIES, oscillator
from weft.families.warp.rnn import WeightSpaceRNN
from weft.families.warp.sets.springs import mass_spring


def network(**options: Any) -> WeightSpaceRNN:
    return WeightSpaceRNN(2, root=FormulaRoot(oscillator(), 1), drive="true_diff", **options)


def springs(steps: int = 96) -> Tensor:
    """Swinging, hardly damped, critically damped and creeping masses, (4, T, 2)."""
    m = torch.full((4,), 0.02, dtype=torch.float64)
    k = torch.tensor([8.0, 18.0, 2.0, 2.0], dtype=torch.float64)
    c = torch.tensor([0.1, 0.001, 0.4, 0.6], dtype=torch.float64)
    start = torch.tensor([[1.0, 0.0], [0.5, 3.0], [1.0, 0.0], [1.0, -0.2]], dtype=torch.float64)
    return mass_spring(m, k, c, start, steps, end=(steps - 1) / 255)


def foretold(rnn: WeightSpaceRNN, x: Tensor, given: int) -> Tensor:
    """Predictions of the steps from `given` on."""
    force = (torch.arange(x.shape[1]) < given).expand(len(x), -1)
    out, _ = rnn(x, force=force)
    return out[:, given - 1 : -1]


@pytest.mark.parametrize("form", ["loop", "sequential", "history"])
def test_untrained_weights_foretell_any_spring(form: str) -> None:
    x = springs().float()
    error = foretold(network(form=form), x, 20) - x[:, 20:]
    assert error.square().mean() < 1e-5  # Rounding, of velocities up to 15.


def test_only_the_ridge_stands_between_the_forecast_and_the_motion() -> None:
    x = springs()
    error = foretold(network(form="loop").double(), x, 20) - x[:, 20:]
    assert error.abs().max() < 1e-3


def test_the_weights_are_the_sums_they_are_said_to_be() -> None:
    x = springs(9)
    _, state = network().double()(x, force=torch.ones(4, 9))
    theta = state.theta
    assert torch.allclose(theta[:, :2], x[:, -1], rtol=1e-12)
    for i, a in enumerate(MEMORIES):
        powers = a ** torch.arange(8, 0, -1, dtype=torch.float64)[:, None]
        begin = 2 + 2 * i
        sums = (powers * x[:, :-1]).sum(1)
        moves = (powers * x.diff(dim=1)).sum(1)
        assert torch.allclose(theta[:, begin : begin + 2], sums, rtol=1e-10)
        begin += 2 * len(MEMORIES)
        assert torch.allclose(theta[:, begin : begin + 2], moves, rtol=1e-10)


def test_nothing_moves_before_the_second_datum() -> None:
    x = springs(2)
    out, _ = network().double()(x, force=torch.ones(4, 2))
    assert torch.equal(out[:, 0], x[:, 0])


def test_a_system_that_grows_fifty_times_is_not_foretold_to_run_away() -> None:
    turn = 1.05 * torch.tensor(
        [[math.cos(0.2), -math.sin(0.2)], [math.sin(0.2), math.cos(0.2)]], dtype=torch.float64
    )
    states = [torch.tensor([1.0, 0.0], dtype=torch.float64)]
    for _ in range(99):
        states.append(turn @ states[-1])
    x = torch.stack(states)[None]
    assert x[0, -1].norm() > 49 * x[0, 19].norm()
    assert foretold(network().double(), x, 20).norm(dim=-1).max() < 2 * x[0, 19].norm()


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1.0, 1e6])
def test_gradients_are_finite_whatever_the_weights(scale: float) -> None:
    root = FormulaRoot(oscillator(), 1)
    theta = (scale * torch.randn(16, root.size)).requires_grad_()
    out = root(theta, torch.zeros(16, 1))
    out.square().mean().backward()
    assert torch.isfinite(out).all() and torch.isfinite(theta.grad).all()


def test_the_first_steps_of_a_real_run_have_finite_gradients() -> None:
    rnn, x = network(), springs(12).float()
    out, _ = rnn(x, force=torch.ones(4, 12))
    (out[:, :-1] - x[:, 1:]).square().mean().backward()
    for parameter in rnn.parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any()
