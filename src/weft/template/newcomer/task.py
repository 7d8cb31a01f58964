"""Joins data, model and objective: what the engine calls."""

# B points of a batch

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from weft.data.source import Batch, DataSpec, Splits, TensorSource
from weft.plots.images import Named
from weft.task.context import Context
from weft.task.metric import Metric
from weft.task.task import Task

from . import report
from .config import Config
from .data import data_spec, load_splits
from .model import Curve
from .objective import squared_error


class NewcomerTask(Task[Config, Curve, TensorSource]):
    """Learning a curve from noisy points."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What `evaluate` returns; the first selects the best weights."""
        return (
            Metric("rmse", "lower", about="Root of the mean squared error of a point."),
            Metric("explained", "higher", about="Share of the variance that the curve explains."),
        )

    def spec(self) -> DataSpec:
        """Shapes and sizes, before anything is loaded."""
        return data_spec(self.config)

    def data(self) -> Splits[TensorSource]:
        """Points to learn, to validate on and to test on."""
        return load_splits(self.config)

    def model(self, spec: DataSpec) -> Curve:
        """The network, as the run's seed initialises it."""
        return Curve(self.config.width, self.config.activation)

    def loss(self, model: Curve, batch: Batch, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error; where the step is logged, also the largest error of the batch.

        Args:
            model: made by `model`.
            batch: `x` and `y`, (B, 1).
            ctx: where training stands; randomness comes from `ctx.generator("name")`.
        """
        predicted = model(batch["x"])
        loss = squared_error(predicted, batch["y"])
        if not ctx.log:
            return loss, {}
        return loss, {"largest_error": (predicted.detach() - batch["y"]).abs().max()}

    def evaluate(self, model: Curve, source: TensorSource, ctx: Context) -> dict[str, float]:
        """Error over all of `source`; gradients are off and the model is in eval mode."""
        squares, heights = [], []
        for batch in source.batches(self.config.eval.batch_size):
            squares.append((model(batch["x"]) - batch["y"]).square())
            heights.append(batch["y"])
        error = float(torch.cat(squares).double().mean())
        variance = float(torch.cat(heights).double().var(correction=0))
        return {"rmse": error**0.5, "explained": 1 - error / variance}

    # All hooks below are optional.

    def figures(self, history: list[dict[str, Any]]) -> Iterator[Named]:
        """For the report, from the rows of metrics.jsonl."""
        if any("train/largest_error" in row for row in history):
            yield report.worst_points(history)

    def sample(self, model: Curve, data: Splits[TensorSource], ctx: Context) -> Iterator[Named]:
        """For `weft sample` and the report: what the trained model makes."""
        shown = data.shown.fields
        yield report.curve(shown["x"], shown["y"], model(shown["x"]))
