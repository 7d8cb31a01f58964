"""Scores agree with plain counting, with closed forms, and with themselves over any batching."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

from weft.families.warp.score.metrics import Classification, Regression


def predictions(count: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mean, target, spread = torch.randn(3, count, 5, 2, generator=generator, dtype=torch.float64)
    return mean, spread.abs() + 0.1, target


def counted_f1(truth: list[int], guess: list[int]) -> float:
    """The mean over classes of the harmonic mean of precision and recall, by counting."""
    scores = []
    for name in sorted({*truth, *guess}):
        right = sum(t == g == name for t, g in zip(truth, guess, strict=True))
        precision = right / guess.count(name) if name in guess else 0.0
        recall = right / truth.count(name) if name in truth else 0.0
        scores.append(2 * precision * recall / (precision + recall) if right else 0.0)
    return statistics.fmean(scores)


def test_errors_agree_with_plain_counting_and_have_no_half() -> None:
    mean, std, target = predictions()
    scores = Regression()
    scores.add(mean, std, target)
    got = scores.result()
    pairs = list(zip(mean.flatten().tolist(), target.flatten().tolist(), strict=True))
    mse = statistics.fmean((m - y) ** 2 for m, y in pairs)
    assert got["mse"] == pytest.approx(mse, rel=1e-12)
    assert got["rmse"] == pytest.approx(math.sqrt(mse), rel=1e-12)
    assert got["mae"] == pytest.approx(statistics.fmean(abs(m - y) for m, y in pairs), rel=1e-12)
    mape = statistics.fmean(abs((m - y) / y) for m, y in pairs)
    assert got["mape"] == pytest.approx(100 * mape, rel=1e-12)


def test_bits_per_dimension_is_the_exact_density_in_bits() -> None:
    mean, std, target = predictions()
    scores = Regression()
    scores.add(mean, std, target)
    density = torch.distributions.Normal(mean, std).log_prob(target)
    got = scores.result()
    assert got["bpd"] == pytest.approx(float(-density.mean()) / math.log(2), rel=1e-12)
    assert got["nll"] == pytest.approx(
        float(-density.mean()) - 0.5 * math.log(2 * math.pi), rel=1e-12
    )


def test_honest_deviations_are_calibrated_and_cover_what_they_claim() -> None:
    generator = torch.Generator().manual_seed(0)
    std = torch.rand(400, 20, 3, generator=generator).double() + 0.5
    error = std * torch.randn(std.shape, generator=generator, dtype=torch.float64)
    for scale in (1.0, 0.5):
        scores = Regression()
        scores.add(torch.zeros_like(std), scale * std, error)
        got = scores.result()
        assert got["calibration"] == pytest.approx(1 / scale, rel=0.02)
        inside = math.erf(scale * 1.6448536 / math.sqrt(2))
        assert got["coverage"] == pytest.approx(inside, abs=0.01)


def test_only_counted_steps_enter() -> None:
    mean, std, target = predictions()
    late = torch.arange(5).expand(7, 5) >= 3
    some, whole = Regression(), Regression()
    some.add(mean, std, target, late)
    whole.add(mean[:, 3:], std[:, 3:], target[:, 3:])
    assert some.result() == pytest.approx(whole.result(), rel=1e-12)


def test_errors_in_the_original_unit_undo_the_normalisation() -> None:
    mean, std, target = predictions()
    scale, offset = torch.tensor([2.0, 10.0]).double(), torch.tensor([1.0, -3.0]).double()
    scores, raw = Regression(lambda values: scale * values + offset), Regression()
    scores.add(mean, std, target)
    raw.add(scale * mean + offset, None, scale * target + offset)
    got = scores.result()
    assert {k: got[f"{k}_original"] for k in raw.result()} == pytest.approx(raw.result(), rel=1e-12)
    assert "nll_original" not in got


def test_a_model_without_a_deviation_has_no_likelihood() -> None:
    mean, _, target = predictions()
    scores = Regression()
    scores.add(mean, None, target)
    assert not {"nll", "bpd"} & scores.result().keys()


def test_a_target_of_zero_has_no_percentage_error() -> None:
    scores = Regression()
    scores.add(torch.ones(1, 2, 1), None, torch.tensor([[[0.0], [2.0]]]))
    assert scores.result()["mape"] == pytest.approx(50.0)


@pytest.mark.parametrize("classes", [2, 5])
def test_classification_agrees_with_plain_counting(classes: int) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(40, classes, generator=generator, dtype=torch.float64)
    label = torch.randint(classes, (40,), generator=generator)
    scores = Classification(classes)
    scores.add(logits, label)
    got, truth = scores.result(), label.tolist()
    guess = [max(range(classes), key=row.__getitem__) for row in logits.tolist()]
    right = [t == g for t, g in zip(truth, guess, strict=True)]
    assert got["accuracy"] == pytest.approx(statistics.fmean(right), rel=1e-12)
    assert got["error_rate"] == pytest.approx(1 - statistics.fmean(right), rel=1e-12)
    assert got["f1_score"] == pytest.approx(counted_f1(truth, guess), rel=1e-12)
    chances = [math.exp(row[t]) / sum(map(math.exp, row))
               for row, t in zip(logits.tolist(), truth, strict=True)]  # fmt: skip
    entropy = -statistics.fmean(map(math.log, chances))
    assert got["cce"] == pytest.approx(entropy, rel=1e-12)


def test_a_class_that_never_occurs_does_not_lower_the_f1_score() -> None:
    scores = Classification(9)
    scores.add(torch.eye(9)[[0, 1, 1]], torch.tensor([0, 1, 0]))
    expected = counted_f1([0, 1, 0], [0, 1, 1])  # 2/3 for each of the two
    assert scores.result()["f1_score"] == pytest.approx(expected) == pytest.approx(2 / 3)


def test_the_cut_into_batches_does_not_matter() -> None:
    mean, std, target = predictions()
    label = torch.arange(7) % 3
    logits = mean[:, :3, 0]
    one, many = (Regression(), Classification(3)), (Regression(), Classification(3))
    one[0].add(mean, std, target)
    one[1].add(logits, label)
    for part in (slice(0, 2), slice(2, 7)):
        many[0].add(mean[part], std[part], target[part])
        many[1].add(logits[part], label[part])
    for a, b in zip(one, many, strict=True):
        assert a.result() == pytest.approx(b.result(), rel=1e-12)


@pytest.mark.parametrize("least", [0.5, 0.05])
def test_bits_have_the_floor_that_the_least_deviation_sets(least: float) -> None:
    scores = Regression()
    exact = torch.zeros(2, 3, 1)
    scores.add(exact, torch.full_like(exact, least), exact)
    floor = math.log2(least) + math.log2(2 * math.pi) / 2
    assert scores.result()["bpd"] == pytest.approx(floor)
