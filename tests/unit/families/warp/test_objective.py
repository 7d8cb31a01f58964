"""Losses against closed forms, and the random choices of training against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from weft.families.warp.objective import (
    aligned,
    classification,
    drawn_steps,
    forcing,
    grounding,
    kept_steps,
    reconstruction,
)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def series(steps: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mean, target, spread = torch.randn(3, 4, steps, 2, generator=stream(), dtype=torch.float64)
    return mean, spread.abs() + 0.2, target


def test_the_squared_error_has_its_half() -> None:
    mean, _, target = series()
    expected = 0.5 * torch.nn.functional.mse_loss(mean, target)
    assert torch.allclose(reconstruction(mean, None, target), expected, rtol=1e-12)


def test_the_likelihood_is_torch_s_without_its_constant() -> None:
    mean, std, target = series()
    density = torch.distributions.Normal(mean, std).log_prob(target)
    expected = -density.mean() - 0.5 * math.log(2 * math.pi)
    assert torch.allclose(reconstruction(mean, std, target), expected, rtol=1e-12)


def test_drawn_steps_pick_the_same_places_of_prediction_and_target() -> None:
    mean, std, target = series()
    steps = torch.tensor([[0, 0, 5], [1, 2, 3], [4, 4, 4], [5, 0, 2]])
    picked = [torch.stack([v[i, row] for i, row in enumerate(steps)]) for v in (mean, std, target)]
    got = reconstruction(mean, std, target, steps=steps)
    assert torch.allclose(got, reconstruction(*picked), rtol=1e-12)


def test_padding_counts_for_nothing() -> None:
    mean, _, target = series()
    valid = torch.arange(6) >= torch.tensor([0, 2, 5, 3])[:, None]
    got = reconstruction(mean, None, target, valid=valid)
    assert torch.allclose(got, 0.5 * (mean - target)[valid].square().mean(), rtol=1e-12)
    wild = torch.where(valid[..., None], mean, 1e6)
    assert torch.equal(got, reconstruction(wild, None, target, valid=valid))


def test_a_draw_of_padding_alone_is_no_loss_and_no_division_by_zero() -> None:
    mean, _, target = series()
    valid = torch.zeros(4, 6, dtype=torch.bool)
    assert reconstruction(mean, None, target, valid=valid) == 0


def test_alignment_next_scores_an_output_against_the_step_after_it() -> None:
    out = torch.arange(5.0).view(1, 5, 1)
    predicted, truth = aligned(out, 10 * out, "next")
    assert torch.equal(10 * (predicted + 1), truth)
    assert aligned(out, out, "same") == (out, out)


def test_drawn_steps_repeat_and_reach_every_step() -> None:
    steps = drawn_steps((3, 7), 500, stream())
    assert steps.shape == (3, 500)
    assert sorted(set(steps.flatten().tolist())) == list(range(7))
    assert not torch.equal(steps[0], steps[1])
    assert drawn_steps((3, 7), -1, stream()) is None


@pytest.mark.parametrize(("share", "count"), [(0.5, 10), (0.34, 6), (0.01, 2)])
def test_kept_steps_are_a_sorted_subset_with_both_ends(share: float, count: int) -> None:
    for seed in range(20):
        kept = kept_steps(20, share, stream(seed)).tolist()
        assert len(kept) == count
        assert kept == sorted(set(kept))
        assert (kept[0], kept[-1]) == (0, 19)


def test_every_inner_step_is_kept_equally_often() -> None:
    counts = torch.zeros(12)
    for seed in range(600):
        counts[kept_steps(12, 0.5, stream(seed))] += 1
    # 4 of 10 inner steps: 240 of 600, with a deviation of 12.
    assert (counts[1:-1] - 240).abs().max() < 5 * 12


def test_all_steps_are_kept_at_a_share_of_one() -> None:
    assert kept_steps(9, 1.0, stream()) is None


def test_coins_are_drawn_a_sequence_and_step() -> None:
    force = forcing("flip_coin", 0.3, 0.0, (200, 50), stream())
    assert set(force.unique().tolist()) == {0.0, 1.0}
    assert abs(float(force.mean()) - 0.3) < 5 * math.sqrt(0.21 / 10_000)
    assert force.std(0).min() > 0 and force.std(1).min() > 0


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 1.0])
def test_teacher_forcing_drifts_from_truth_to_prediction(progress: float) -> None:
    force = forcing("teacher_forcing", 0.9, progress, (2, 3), stream())
    expected = 1 - torch.sigmoid(torch.tensor(10 * (progress - 0.5)))
    assert torch.allclose(force, expected.expand(2, 3))


def test_always_true_feeds_the_truth() -> None:
    assert torch.equal(forcing("always_true", 0.0, 1.0, (2, 3), None), torch.ones(2, 3))


def test_grounding_counts_from_each_sequence_s_own_start() -> None:
    x = torch.zeros(2, 5, 1)
    assert grounding(x, 2).tolist() == [[1, 1, 0, 0, 0]] * 2
    got = grounding(x, 2, torch.tensor([5, 3]))
    assert got.tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]]


def test_cross_entropy_is_that_of_the_true_class() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.e)) / 2
    assert classification(logits, torch.tensor([0, 0])).item() == pytest.approx(expected)
