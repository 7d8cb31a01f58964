"""Generated sequences equal those of independent solvers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from torch import Tensor

from weft.families.warp.sets.lorenz import lorenz63
from weft.families.warp.sets.lotka import lotka_volterra, repeat_copy
from weft.families.warp.sets.regression import pairs
from weft.families.warp.sets.spirals import spirals
from weft.families.warp.sets.springs import mass_spring


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("steps", [2, 9, 256])
def test_springs_equal_the_matrix_exponential_swinging_critical_and_creeping(steps: int) -> None:
    m = torch.full((5,), 0.02, dtype=torch.float64)
    k = torch.tensor((16.0, 2.0, 0.5, 0.5, 0.5), dtype=torch.float64)
    # 0.2 = 2 sqrt(km) is critical for k = 0.5; 1e-9 off is the series, 0.3 creeps.
    c = torch.tensor((0.01, 0.3, 0.2, 0.2 + 1e-9, 0.3), dtype=torch.float64)
    start = uniform(5, 2) * 3 - 1
    path = mass_spring(m, k, c, start, steps, end=1.5).numpy()
    for row in range(5):
        generator = np.array([[0, 1], [-k[row] / m[row], -c[row] / m[row]]])
        for step in range(0, steps, max(1, steps // 16)):
            exact = expm(generator * 1.5 * step / (steps - 1)) @ start[row].numpy()
            assert np.allclose(path[row, step], exact, rtol=1e-10, atol=1e-10)


def test_lotka_volterra_equals_scipy() -> None:
    low = torch.tensor((10.0, 70.0, 70.0, 10.0), dtype=torch.float64)[:, None]
    rates = low + torch.tensor((50.0, 60.0, 60.0, 50.0), dtype=torch.float64)[:, None] * uniform(
        4, 6
    )
    path = lotka_volterra(rates, torch.ones(6, 2, dtype=torch.float64), 64).numpy()
    for row in range(6):
        a, b, c, d = rates[:, row].tolist()
        exact = solve_ivp(
            lambda _, y, a=a, b=b, c=c, d=d: [
                a * y[0] - b * y[0] * y[1],
                c * y[0] * y[1] - d * y[1],
            ],
            (0, 1),
            [1, 1],
            method="DOP853",
            rtol=1e-12,
            atol=1e-14,
            t_eval=np.linspace(0, 1, 64),
        ).y.T
        assert np.abs(path[row] - exact).max() < 2e-9


def test_lotka_volterra_keeps_its_invariant() -> None:
    rates = torch.tensor((30.0, 100.0, 90.0, 40.0), dtype=torch.float64)[:, None]
    prey, predators = lotka_volterra(rates, torch.ones(1, 2, dtype=torch.float64), 256)[0].T
    a, b, c, d = rates[:, 0]
    energy = c * prey - d * prey.log() + b * predators - a * predators.log()
    assert torch.allclose(energy, energy[0], rtol=1e-8)


def test_lorenz_equals_scipy_as_long_as_chaos_allows() -> None:
    start = torch.tensor(((1.0, 1.0, 1.0), (-8.0, 7.0, 27.0)), dtype=torch.float64)
    path = lorenz63(start, 0.01, 201).numpy()
    for row in range(2):
        exact = solve_ivp(
            lambda _, y: [
                10 * (y[1] - y[0]),
                y[0] * (28 - y[2]) - y[1],
                y[0] * y[1] - 8 / 3 * y[2],
            ],
            (0, 2),
            start[row].numpy(),
            method="DOP853",
            rtol=1e-12,
            atol=1e-12,
            t_eval=np.arange(201) * 0.01,
        ).y.T
        assert np.abs(path[row] - exact).max() < 1e-8


def test_spirals_equal_the_matrix_exponential_and_the_mirror() -> None:
    angles = uniform(4) * 2 * torch.pi
    clockwise = torch.tensor((True, False, True, False))
    path = spirals(angles, clockwise, 30).numpy()
    flow = np.array([[-0.3, 2], [-2, -0.3]])
    for row in range(4):
        start = np.array([np.cos(float(angles[row])), np.sin(float(angles[row]))])
        for step, time in enumerate(np.linspace(0, 4 * np.pi, 30)):
            exact = expm(flow * time) @ start
            exact[0] *= 1 if clockwise[row] else -1
            assert np.allclose(path[row, step], exact, rtol=1e-10, atol=1e-12)


def test_clockwise_spirals_turn_clockwise() -> None:
    path = spirals(uniform(6) * 6, torch.arange(6) % 2 == 1, 100)
    before, after = path[:, :-1], path[:, 1:]
    turn = before[..., 0] * after[..., 1] - before[..., 1] * after[..., 0]
    assert (turn[1::2] < 0).all()
    assert (turn[::2] > 0).all()


def test_repeat_copy_equals_copying_by_hand() -> None:
    paths = uniform(3, 40, 2)
    cuts = torch.tensor((5, 9, 12))
    given, target = repeat_copy(paths, cuts, 7)
    for row, cut in enumerate(cuts.tolist()):
        shown, copied = np.zeros((40, 2)), np.zeros((40, 2))
        shown[:cut] = paths[row, :cut]
        for begin in range(0, 40, cut + 7):
            end = min(begin + cut, 40)
            copied[begin:end] = paths[row, : end - begin]
        assert np.array_equal(given[row].numpy(), shown)
        assert np.array_equal(target[row].numpy(), copied)


def test_differences_of_a_regression_sequence_are_its_pairs_and_least_squares_answers_it() -> None:
    made = pairs(5, 8, 3, torch.Generator().manual_seed(0))
    x, target = made["x"].double().numpy(), made["target"].double().numpy()
    steps, answers = np.diff(x, axis=1, prepend=0), np.diff(target, axis=1, prepend=0)
    assert np.allclose(steps[:, :-1, 3:], answers[:, :-1], atol=1e-5)
    assert np.array_equal(steps[:, -1, 3], np.zeros(5))
    for row in range(5):
        w, *_ = np.linalg.lstsq(steps[row, :-1, :3], answers[row, :-1, 0], rcond=None)
        assert steps[row, -1, :3] @ w == pytest.approx(answers[row, -1, 0], abs=1e-4)


def test_features_cumulates_inputs_over_features_as_the_original_does() -> None:
    time, features = (
        pairs(2, 4, 3, torch.Generator().manual_seed(1), cumsum=axis)["x"]
        for axis in ("time", "features")
    )
    rows = torch.diff(time[..., :3], dim=1, prepend=torch.zeros(2, 1, 3))
    assert torch.allclose(features[..., :3], rows.cumsum(2), atol=1e-6)
    # The query's y is 0: of what is summed, or of the sum.
    assert torch.equal(features[:, :-1, 3], time[:, :-1, 3])
    assert not features[:, -1, 3].any()
    assert torch.equal(time[:, -1, 3], time[:, -2, 3])
