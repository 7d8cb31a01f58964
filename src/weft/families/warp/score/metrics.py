"""Scores of completions, forecasts and classifications."""

# N batch, T steps, d channels, K classes

from __future__ import annotations

import math
from collections.abc import Callable, Container

import torch
from torch import Tensor

from weft.families.warp.objective import gaussian_nll
from weft.task.metric import Metric

LOG_2PI_HALF = 0.5 * math.log(2 * math.pi)
METRICS = {
    metric.name: metric
    for metric in (
        Metric("mse", "lower", about="Mean squared error of the steps that count."),
        Metric("rmse", "lower", about="Root of the mean squared error."),
        Metric("mae", "lower", about="Mean absolute error."),
        Metric("mape", "lower", "%", "Mean absolute error, relative to the target."),
        Metric("nll", "lower", "nats", "Gaussian negative log-likelihood, without its constant."),
        Metric("bpd", "lower", "bits", "Bits per dimension of a density."),
        Metric(
            "shuffled",
            "higher",
            about="Mean squared error from another sequence's context; `mse` if contexts are not "
            "used.",
        ),
        Metric(
            "calibration",
            "lower",
            about="Root mean square of the errors in predicted deviations: 1 if these are honest.",
        ),
        Metric("coverage", "higher", about="Share of targets in the central 90 % of the forecast."),
        Metric("accuracy", "higher", about="Share of sequences that are classified correctly."),
        Metric("error_rate", "lower", about="Share of sequences whose class is told wrong."),
        Metric("f1_score", "higher", about="Harmonic mean of precision and recall, over classes."),
        Metric("cce", "lower", "nats", "Mean cross-entropy of a sequence."),
        Metric(
            "loss_all_steps", "lower", about="The training loss over all steps, given ones too."
        ),
        Metric("*_original", "lower", about="An error in the data's own unit."),
        Metric("max_theta", "lower", about="Largest weight after the last step."),
        Metric("spectral_radius", "lower", about="Growth of the recurrence by a step."),
    )
}
"""All metrics by name, and whether higher or lower is better."""
NINETY = 1.6448536269514722
"""Standard deviations on either side of the mean that contain 90 % of a normal density."""
SMALLEST = 1e-8
"""Targets of at most this magnitude are left out of percentage errors."""


class Regression:
    """Errors of predictions, summed over batches in float64.

    Each is a mean over sequences, counted steps and channels:

        mse   mean (m - y)^2, without the 1/2 of the training loss
        rmse  its root
        mae   mean |m - y|
        mape  100 mean |m - y| / |y|, over entries with |y| > 1e-8
        nll   mean log s + ((y - m) / s)^2 / 2, in nats, as trained on
        bpd   (nll + log(2 pi) / 2) / log 2, bits per dimension of a density: it depends on the
              data's unit, so only data of equal scaling can be compared
        calibration   root of mean ((y - m) / s)^2
        coverage      share of |y - m| <= 1.645 s, which is .9 of a normal density

    The last four need standard deviations.

    Args:
        unscale: converts values (N, T, d) to the data's own unit; None if they are not scaled. With
            it, `mse_original`, … are the errors in that unit.
    """

    def __init__(self, unscale: Callable[[Tensor], Tensor] | None = None) -> None:
        self.own, self.original = _Errors(), _Errors()
        self.unscale = unscale

    def add(
        self, mean: Tensor, std: Tensor | None, target: Tensor, counted: Tensor | None = None
    ) -> None:
        """Adds a batch.

        Args:
            mean, target: (N, T, d).
            std: (N, T, d), or None if the model has none.
            counted: which steps are counted, bool (N, T); None: all.
        """
        self.own.add(*_entries(counted, mean, std, target))
        if self.unscale is not None:
            mean, target = self.unscale(mean), self.unscale(target)
            self.original.add(*_entries(counted, mean, None, target))

    def result(self) -> dict[str, float]:
        """The metrics of all batches so far."""
        metrics = self.own.result()
        if self.unscale is not None:
            again = self.original.result()
            metrics |= {f"{name}_original": value for name, value in again.items()}
        return metrics


def _entries(
    counted: Tensor | None, mean: Tensor, std: Tensor | None, target: Tensor
) -> tuple[Tensor, Tensor | None, Tensor]:
    """The counted entries, in float64 on the CPU (some accelerators have no float64)."""

    def pick(values: Tensor) -> Tensor:
        return (values if counted is None else values[counted]).cpu().double()

    return pick(mean), None if std is None else pick(std), pick(target)


class _Errors:
    """Sums of errors in one unit."""

    def __init__(self) -> None:
        self.count = self.squared = self.absolute = 0.0
        self.relative = self.relative_count = 0.0
        self.nll: float | None = None
        self.standard = self.inside = 0.0

    def add(self, mean: Tensor, std: Tensor | None, target: Tensor) -> None:
        error = (mean - target).abs()
        self.count += error.numel()
        self.squared += float(error.square().sum())
        self.absolute += float(error.sum())
        large = target.abs() > SMALLEST
        self.relative += float((error[large] / target[large].abs()).sum())
        self.relative_count += float(large.sum())
        if std is not None:
            self.nll = (self.nll or 0.0) + float(gaussian_nll(mean, std, target).sum())
            self.standard += float((error / std).square().sum())
            self.inside += float((error <= NINETY * std).sum())

    def result(self) -> dict[str, float]:
        count = max(self.count, 1.0)
        mse = self.squared / count
        metrics = {
            "mse": mse,
            "rmse": math.sqrt(mse),
            "mae": self.absolute / count,
            "mape": 100 * self.relative / max(self.relative_count, 1.0),
        }
        if self.nll is not None:
            nll = self.nll / count
            metrics |= {
                "nll": nll,
                "bpd": (nll + LOG_2PI_HALF) / math.log(2),
                "calibration": math.sqrt(self.standard / count),
                "coverage": self.inside / count,
            }
        return metrics


class Classification:
    """Metrics of the last step's logits, summed over batches.

        accuracy     share of sequences whose largest logit is their label's
        error_rate   1 - accuracy
        f1_score     mean over classes of 2 TP / (2 TP + FP + FN); classes that neither occur nor
                     are predicted are left out
        cce          mean cross-entropy in nats

    Args:
        num_classes: K.
    """

    def __init__(self, num_classes: int) -> None:
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.float64)
        self.entropy = 0.0

    def add(self, logits: Tensor, label: Tensor) -> None:
        """Adds logits (N, K) and labels (N,)."""
        logits, label = logits.cpu().double(), label.cpu()
        classes = self.confusion.shape[0]
        pairs = label * classes + logits.argmax(-1)
        counts = torch.bincount(pairs, minlength=classes * classes)
        self.confusion += counts.view(classes, classes)
        self.entropy += float(torch.nn.functional.cross_entropy(logits, label, reduction="sum"))

    def result(self) -> dict[str, float]:
        """The metrics of all batches so far."""
        count = float(self.confusion.sum().clamp_min(1))
        right, per_class = self.confusion.diagonal(), self.confusion.sum(0) + self.confusion.sum(1)
        accuracy = float(right.sum()) / count
        seen = per_class > 0
        return {
            "accuracy": accuracy,
            "error_rate": 1 - accuracy,
            "f1_score": float((2 * right[seen] / per_class[seen]).mean()),
            "cce": self.entropy / count,
        }


def without(leading: Container[str]) -> list[Metric]:
    """All metrics except those in `leading`."""
    return [metric for name, metric in METRICS.items() if name not in leading]
