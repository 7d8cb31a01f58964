"""The closed-form probe against numpy and against the published probe on the same codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from weft.families.jepa.score.guess import guess_px2
from weft.families.jepa.score.probe import (
    NormalEquations,
    Probe,
    closed_form,
    fit_adam,
    fit_closed_form,
    squared_errors,
)
from weft.families.jepa.sets.scene import THREE_DOTS, Scene

T, B, D, K = 3, 16, 5, 2


def pairs(count: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    """Batches of codes that hold the locations in a linear map, with noise."""
    generator = torch.Generator().manual_seed(seed)
    reading = torch.randn(D, 2 * K, generator=torch.Generator().manual_seed(9))
    batches = []
    for _ in range(count):
        codes = torch.randn(T, B, D, generator=generator)
        noise = torch.randn(T, B, 2 * K, generator=generator)
        batches.append((codes, (codes @ reading + 0.3 * noise).unflatten(-1, (K, 2))))
    return batches


def test_the_closed_form_equals_numpy_lstsq() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    targets = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    expected, *_ = np.linalg.lstsq(features.numpy(), targets.numpy(), rcond=None)
    weights = closed_form(features, targets, ridge=0.0)
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-10, atol=1e-12)


def test_ridge_equals_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    targets = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    gram = features.mT @ features
    penalty = 0.5 * gram.diagonal().mean() * torch.eye(4, dtype=torch.float64)
    expected = torch.linalg.solve(gram + penalty, features.mT @ targets)
    torch.testing.assert_close(closed_form(features, targets, 0.5), expected, rtol=1e-10, atol=0)


def test_streaming_equals_all_rows_at_once() -> None:
    features, targets = torch.randn(30, 4).double(), torch.randn(30, 2).double()
    equations = NormalEquations()
    for part in range(0, 30, 7):
        equations.add(features[part : part + 7], targets[part : part + 7])
    expected = closed_form(features, targets)
    torch.testing.assert_close(equations.solve(1e-6), expected, rtol=1e-9, atol=1e-12)


def test_the_probe_has_no_bias() -> None:
    shifted = [(torch.ones(T, B, D), torch.full((T, B, K, 2), 3.0)) for _ in range(2)]
    every, _ = fit_closed_form(shifted)
    assert every(torch.zeros(T, B, D)).abs().max() == 0
    assert every(torch.ones(T, B, D)).mean() == pytest.approx(3.0, rel=1e-4)


def test_the_closed_form_is_no_worse_than_adam_on_the_same_codes() -> None:
    train, held_out = pairs(400), pairs(20, seed=1)
    exact, _ = fit_closed_form(train, 1e-6)
    torch.manual_seed(0)
    adam = fit_adam(train * 5, lr=3e-3)
    errors = [float(squared_errors([p], held_out)[0].mean()) for p in (exact, adam)]
    assert errors[0] <= errors[1] * 1.02
    # Both find the noise that was put in: 2 axes of variance 0.09.
    assert errors[0] == pytest.approx(0.18, rel=0.05)
    assert errors[1] == pytest.approx(0.18, rel=0.1)


def test_the_first_probe_sees_the_first_frame_alone() -> None:
    batches = [(codes, locations.clone()) for codes, locations in pairs(20)]
    for _, locations in batches:
        locations[1:] = 100.0
    _, first = fit_closed_form(batches, 1e-6)
    [errors] = squared_errors([first], batches)
    assert errors[0].max() < 0.3 < 1e3 < errors[1:].min()


def test_errors_are_squared_distances_per_frame_and_dot() -> None:
    codes = torch.zeros(T, B, D)
    locations = torch.zeros(T, B, K, 2)
    locations[1, :, 0] = torch.tensor([3.0, 4.0])
    batches = [(codes, locations), (codes[:, :5], locations[:, :5])]
    [errors] = squared_errors([Probe(D, K)], batches)
    expected = torch.zeros(T, K, dtype=torch.float64)
    expected[1, 0] = 25.0
    torch.testing.assert_close(errors, expected)


def test_dead_codes_read_out_as_the_centre() -> None:
    every, _ = fit_closed_form([(torch.zeros(T, B, D), torch.randn(T, B, K, 2))])
    assert every(torch.zeros(T, B, D)).abs().max() == 0


def test_a_published_probe_with_hidden_layers_learns_what_no_linear_map_can() -> None:
    generator = torch.Generator().manual_seed(0)

    def batch() -> tuple[Tensor, Tensor]:
        codes = torch.randn(T, 64, D, generator=generator)
        return codes, codes[..., :1].abs().expand(-1, -1, 2).unflatten(-1, (1, 2)).clone()

    data = [batch() for _ in range(300)]
    torch.manual_seed(0)
    linear, deep = fit_adam(data, 3e-3), fit_adam(data, 3e-3, "32")
    errors = [float(squared_errors([p], data[:20])[0].mean()) for p in (linear, deep)]
    assert errors[1] < 0.1 * errors[0]
    assert math.isclose(errors[0], 2.0, rel_tol=0.2)


def _faint(rows: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Codes that hold a location in a linear map of a few entries, under much noise."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(1, rows, width, generator=generator)
    locations = 0.5 * codes[..., :2] + torch.randn(1, rows, 2, generator=generator)
    return codes, locations.unflatten(-1, (1, 2))


@pytest.mark.parametrize(
    "rows", [40, 80, 400, *(pytest.param(rows, marks=pytest.mark.slow) for rows in (50, 200))]
)
def test_at_any_number_of_rows_from_the_width_on_the_probe_is_no_worse_than_guessing(
    rows: int,
) -> None:
    held_out = _faint(4000, 40, seed=1)
    guess = held_out[1].square().sum(-1).mean()
    for seed in range(2, 6):
        _, first = fit_closed_form([_faint(rows, 40, seed)])
        [errors] = squared_errors([first], [held_out])
        assert float(errors.mean()) <= 1.05 * float(guess)


def test_too_few_rows_for_a_fixed_ridge_are_told_and_are_worse_than_guessing() -> None:
    held_out = _faint(4000, 40, seed=1)
    with pytest.warns(UserWarning, match="learns from 45 rows, fewer than 20 x the width"):
        _, first = fit_closed_form([_faint(45, 40, seed=2)], 1e-6)
    [errors] = squared_errors([first], [held_out])
    assert errors.mean() > 2 * held_out[1].square().sum(-1).mean()


@pytest.mark.filterwarnings("error")
def test_from_twenty_rows_an_entry_on_doubling_them_moves_the_error_by_two_percent() -> None:
    held_out = _faint(4000, 40, seed=1)
    errors = []
    for rows in (800, 1600):
        _, first = fit_closed_form([_faint(rows, 40, seed=3)])
        errors += [float(squared_errors([first], [held_out])[0].mean()) ** 0.5]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def test_guessing_the_centre_misses_a_uniform_dot_by_its_deviation_and_later_ones_by_more() -> None:
    scene = Scene(walks=THREE_DOTS)
    px2 = torch.tensor(guess_px2(scene))
    uniform = 2 * (scene.high - scene.low) ** 2 / 12
    assert px2[0].tolist() == pytest.approx([uniform] * 3, rel=0.02)
    assert px2[:, 0].mean().sqrt().item() == pytest.approx(9.37, abs=0.05)
    torch.testing.assert_close(px2[:, 2], px2[:1, 2].expand(17), rtol=1e-6, atol=0)


def test_codes_that_are_no_numbers_are_read_as_none_and_stop_nothing() -> None:
    codes = torch.full((T, B, D), torch.nan)
    every, first = fit_closed_form([(codes, torch.randn(T, B, K, 2))])
    assert bool(every(codes).isnan().all() & first(codes[:1]).isnan().all())
