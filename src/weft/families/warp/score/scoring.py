"""Scores a model on all sequences of a source, given the first steps of each."""

# N batch, T steps, d channels, L steps of context

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from weft.data.random import stream
from weft.data.source import Batch
from weft.families.warp.cell.outputs import Prediction
from weft.families.warp.config import Config
from weft.families.warp.model import WarpModel
from weft.families.warp.objective import Alignment, aligned, grounding, prediction_loss
from weft.families.warp.score.inference import context_of, infer
from weft.families.warp.score.metrics import Classification, Regression
from weft.families.warp.score.stability import largest_weight
from weft.families.warp.sets.source import SeriesSource, SeriesSpec
from weft.task.context import Context


def score(
    config: Config,
    spec: SeriesSpec,
    model: nn.Module,
    source: SeriesSource,
    ctx: Context,
    context: int | None = None,
) -> dict[str, float]:
    """Metrics over all of `source`.

    Args:
        config, spec: of the run.
        model: a `WarpModel`, or a baseline with its interface.
        source: the sequences.
        ctx: the state of training; only its seed is used, so that evaluations can be repeated.
        context: L, number of given steps; None: that of the run.
    Returns:
        mse, rmse, mae, mape, nll, bpd: of steps >= L; with `_original` in the data's own unit.
        shuffled: error at the same steps if each sequence is predicted from the context of the one
            before it in `source`, the first one from the last one's.
        calibration, coverage: of the standard deviations.
        loss_all_steps: the training loss over all steps, with the given ones.
        accuracy, error_rate, f1_score, cce: of the last step's logits.
        max_theta: largest weight after the last step, of a weight-space model.
    """
    given = context_of(config, spec) if context is None else context
    predictions, strangers = Regression(_unscale(source, spec)), _Strangers(config, given)
    labels: Classification | None = None
    losses, count, largest = 0.0, 0, 0.0
    draws = stream(ctx.seed, 0, "inference", device=ctx.device)
    for batch in source.batches(config.eval.batch_size):
        predicted = infer(config, spec, model, batch, given, draws)
        if config.reconstructs:
            size = len(batch["x"])
            loss = prediction_loss(predicted, batch, config.target)
            losses, count = losses + size * float(loss), count + size
            _add(predictions, predicted, batch, config.target, given)
            if given and "length" not in batch:
                strangers.add(predicted, batch)
        if predicted.logits is not None:
            labels = labels or Classification(predicted.logits.shape[-1])
            labels.add(predicted.logits[:, -1], batch["label"])
        largest = max(largest, float(largest_weight(predicted.theta)))
    metrics = predictions.result() if config.reconstructs else {}
    if (error := strangers.error()) is not None:
        metrics["shuffled"] = error
    if config.reconstructs:
        metrics["loss_all_steps"] = losses / max(1, count)
    if labels is not None:
        metrics |= labels.result()
    if isinstance(model, WarpModel):
        metrics["max_theta"] = largest
    return metrics


def _add(
    predictions: Regression, predicted: Prediction, batch: Batch, how: Alignment, context: int
) -> None:
    """Adds the steps whose target is at L or later; padding is before them."""
    target = batch.get("target", batch["x"])
    assert predicted.mean is not None
    mean, truth = aligned(predicted.mean, target, how)
    std = predicted.std
    counted = grounding(target, context, batch.get("length")) == 0
    if how == "next":
        std, counted = None if std is None else std[:, :-1], counted[:, 1:]
    predictions.add(mean, std, truth, counted)


class _Strangers:
    """The error of sequences that are predicted from the context of the one before them, whatever
    batches they come in; the first of all is predicted from the last one's.

    Args:
        config: of the run.
        context: L.
    """

    def __init__(self, config: Config, context: int) -> None:
        self.how, self.context, self.errors = config.target, context, Regression()
        self.first: Batch | None = None
        self.last: Prediction | None = None

    def add(self, predicted: Prediction, batch: Batch) -> None:
        """Adds a batch, with its own predictions."""
        mean = _mean(predicted)
        if self.last is None:
            self.first = {name: values[:1] for name, values in batch.items()}
            before, batch = mean[:-1], {name: values[1:] for name, values in batch.items()}
        else:
            before = torch.cat([_mean(self.last), mean[:-1]])
        if len(before):
            self._compare(predicted._replace(mean=before, std=None), batch)
        self.last = predicted._replace(mean=mean[-1:], std=None)

    def error(self) -> float | None:
        """The mean squared error; None for fewer than two sequences."""
        if self.first is None or self.last is None or not self.errors.own.count:
            return None
        self._compare(self.last, self.first)
        self.first = None
        return self.errors.result()["mse"]

    def _compare(self, predicted: Prediction, batch: Batch) -> None:
        _add(self.errors, predicted, batch, self.how, self.context)


def _mean(predicted: Prediction) -> Tensor:
    assert predicted.mean is not None
    return predicted.mean


def _unscale(source: SeriesSource, spec: SeriesSpec) -> Callable[[Tensor], Tensor] | None:
    """Conversion to the data's own unit; None for pixels and for unscaled data."""
    scale = source.scale
    untouched = bool((scale.unit == 1).all() and (scale.centre == 0).all())
    return None if untouched or spec.canvas is not None else source.unscale
