"""Formula roots against matrix exponentials, and a phase recovered from one sample."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from weft.families.warp.cell.physics import SCALES, mass_spring_damper, motion, physics_root

ROOT = {"width": 8, "depth": 1, "nonlinearity": "tanh", "channels": 0, "deviations": 0}


def generator(stiffness: float, damping: float) -> np.ndarray:
    return np.array([[0.0, 1.0], [-stiffness, -2 * damping]])


@pytest.mark.parametrize(
    ("stiffness", "damping"),
    [
        (400.0, 2.5),  # the data's own range: underdamped
        (900.0, 0.0),  # undamped
        (4.0, 9.0),  # overdamped
        (25.0, 5.0),  # critically damped
        (25.0, 5.0 + 1e-7),
        (25.0, 5.0 - 1e-7),
        (25.0, 5.001),  # where the series hands over to the branches
        (25.0, 4.99),
        (1e4, 200.0),
        (1e-3, 30.0),
    ],
)
def test_motion_equals_the_matrix_exponential(stiffness: float, damping: float) -> None:
    times = torch.linspace(0, 1, 23, dtype=torch.float64)
    start = (1.3, -0.7)
    rates = torch.tensor([stiffness, damping], dtype=torch.float64)
    got = motion(rates[0].expand(23), rates[1].expand(23), times, start)
    for time, state in zip(times.tolist(), got.numpy(), strict=True):
        expected = expm(time * generator(stiffness, damping)) @ np.array(start)
        scale = np.abs(expected).max() + 1e-300
        assert np.abs(state - expected).max() <= 1e-10 * max(scale, 1.0)


def test_the_msd_root_is_the_motion_of_its_mass_spring_and_damper() -> None:
    root = physics_root("msd", inputs=1, **{**ROOT, "depth": 0})
    raw = torch.tensor([0.4, -0.3, 1.7], dtype=torch.float64)
    theta = torch.cat([torch.zeros(3).double(), raw])  # No slope in time, and the values.
    m, k, c = (float(value) for value in mass_spring_damper(raw))
    got = root(theta, torch.tensor([[0.37]], dtype=torch.float64))[0]
    expected = expm(0.37 * generator(k / m, c / (2 * m))) @ np.array([1.0, 0.0])
    assert np.abs(got.numpy() - expected).max() < 1e-10 * np.abs(expected).max()


def test_a_free_start_moves_the_motion_with_it() -> None:
    root = physics_root("msd-start", inputs=1, **{**ROOT, "depth": 0})
    raw = torch.tensor([0.4, -0.3, 1.7, 0.2, -0.6], dtype=torch.float64)
    theta = torch.cat([torch.zeros(5).double(), raw])
    m, k, c = (float(value) for value in mass_spring_damper(raw[:3]))
    got = root(theta, torch.tensor([[0.37]], dtype=torch.float64))[0]
    expected = expm(0.37 * generator(k / m, c / (2 * m))) @ np.array([1.2, -0.6])
    assert np.abs(got.numpy() - expected).max() < 1e-10 * np.abs(expected).max()


def test_the_msd_root_starts_near_the_middle_of_the_data() -> None:
    root = physics_root("msd", inputs=1, **ROOT)
    m, k, c = SCALES
    times = torch.linspace(0, 1, 9)
    expected = motion(torch.tensor(k / m), torch.tensor(c / (2 * m)), times)
    assert torch.allclose(root(root.fresh(), times[:, None]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("damping", [5.0, 4.999, 5.001, 4.0, 7.0])
def test_gradients_of_motion_are_right_on_both_sides_of_critical_damping(damping: float) -> None:
    rates = torch.tensor([[25.0, damping]], dtype=torch.float64, requires_grad=True)
    times = torch.tensor([0.3, 1.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda r, t: motion(r[..., 0], r[..., 1], t), (rates, times))


@pytest.mark.parametrize("raw", [-80.0, -20.0, 0.0, 20.0, 80.0])
def test_extreme_weights_give_finite_motion_and_gradients(raw: float) -> None:
    root = physics_root("msd", inputs=1, **{**ROOT, "depth": 0})
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
    theta = torch.cat([torch.zeros(8, 3), raw * signs], 1).requires_grad_()
    out = root(theta, torch.ones(8, 1))
    out.square().sum().backward()
    assert torch.isfinite(out).all() and torch.isfinite(theta.grad).all()
    assert out[:, 0].abs().max() <= 1 + 1e-5  # A passive system never swings further out.


def test_the_phase_of_a_single_sine_is_recovered() -> None:
    root = physics_root("sine", inputs=1, **{**ROOT, "depth": 0})
    times = torch.linspace(0, 1, 16, dtype=torch.float64)[:, None]
    phase = 0.41
    target = torch.sin(2 * math.pi * times + phase)
    theta = root.fresh(torch.Generator().manual_seed(0)).double().requires_grad_()
    optimiser = torch.optim.LBFGS([theta], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = (root(theta, times) - target).square().mean()
        value.backward()
        return value

    optimiser.step(loss)
    slope, offset = theta.tolist()
    assert abs(slope) < 1e-3
    assert abs(offset - phase) < 1e-3
