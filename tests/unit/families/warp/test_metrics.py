"""Scores agree with scikit-learn, with closed forms, and with themselves over any batching."""

from __future__ import annotations

import math

import pytest
import torch

from weft.families.warp.metrics import Classification, Regression

metrics = pytest.importorskip("sklearn.metrics")


def predictions(count: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mean, target, spread = torch.randn(3, count, 5, 2, generator=generator, dtype=torch.float64)
    return mean, spread.abs() + 0.1, target


def test_errors_agree_with_scikit_learn_and_have_no_half() -> None:
    mean, std, target = predictions()
    scores = Regression()
    scores.add(mean, std, target)
    got, flat = scores.result(), (target.flatten().numpy(), mean.flatten().numpy())
    assert got["mse"] == pytest.approx(metrics.mean_squared_error(*flat), rel=1e-12)
    assert got["rmse"] == pytest.approx(metrics.root_mean_squared_error(*flat), rel=1e-12)
    assert got["mae"] == pytest.approx(metrics.mean_absolute_error(*flat), rel=1e-12)
    mape = metrics.mean_absolute_percentage_error(*flat)
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
def test_classification_agrees_with_scikit_learn(classes: int) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(40, classes, generator=generator, dtype=torch.float64)
    label = torch.randint(classes, (40,), generator=generator)
    scores = Classification(classes)
    scores.add(logits, label)
    got, pair = scores.result(), (label.numpy(), logits.argmax(-1).numpy())
    assert got["accuracy"] == pytest.approx(metrics.accuracy_score(*pair), rel=1e-12)
    assert got["error_rate"] == pytest.approx(1 - got["accuracy"], rel=1e-12)
    assert got["f1_score"] == pytest.approx(metrics.f1_score(*pair, average="macro"), rel=1e-12)
    entropy = metrics.log_loss(label, logits.softmax(-1).numpy(), labels=list(range(classes)))
    assert got["cce"] == pytest.approx(entropy, rel=1e-12)


def test_a_class_that_never_occurs_does_not_lower_the_f1_score() -> None:
    scores = Classification(9)
    scores.add(torch.eye(9)[[0, 1, 1]], torch.tensor([0, 1, 0]))
    expected = metrics.f1_score([0, 1, 0], [0, 1, 1], average="macro")
    assert scores.result()["f1_score"] == pytest.approx(expected)


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
