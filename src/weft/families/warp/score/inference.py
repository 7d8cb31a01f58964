"""How a trained model is asked for a sequence: what it is given, and what it must tell."""

# N batch, T steps, d channels, L steps of context

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from weft.data.source import Batch
from weft.families.warp.cell.outputs import Prediction
from weft.families.warp.config import Config
from weft.families.warp.model import WarpModel
from weft.families.warp.objective import grounding
from weft.families.warp.sets.source import SeriesSpec

Mode = Literal["feedback", "free", "recall"]


def mode_of(config: Config, spec: SeriesSpec) -> Mode:
    """How sequences are asked for.

    `feedback`: the truth for L steps, then the model's own predictions (M2, M3). `free`: the whole
    input, where it is not the target or passes convolutions (M1). `recall`: the weights after the
    last step, read at every step.
    """
    if not config.autoregressive_inference:
        return "recall"
    convolves = config.conv_embedding is not None or config.output_smoothing
    free = "target" in spec.fields or convolves
    return "free" if free and not config.autoregressive else "feedback"


def context_of(config: Config, spec: SeriesSpec) -> int:
    """L: steps that are given, which no metric counts."""
    if spec.context is not None:
        return spec.context
    return 0 if mode_of(config, spec) == "free" else config.grounding_length


def infer(
    config: Config,
    spec: SeriesSpec,
    model: nn.Module,
    batch: Batch,
    context: int | Tensor,
    draws: Generator | None = None,
) -> Prediction:
    """Predictions of every step of a batch; of the last one's class alone if that is all.

    Args:
        context: L, true steps given; of each sequence (N,) if a tensor.
        draws: stream of the samples fed back, where inference samples.
    """
    x, length = batch["x"], batch.get("length")
    if not config.reconstructs:
        predicted: Prediction = model(x, length=length, last=True)
        return predicted
    how = mode_of(config, spec)
    if how == "recall":
        return recalled(model, batch, feedback=config.autoregressive)
    force = sample = None
    if how == "feedback":
        force = grounding(x, context, length)
        if config.stochastic and not config.smooth_inference:
            sample = torch.randn(x.shape, generator=draws, device=x.device)
    predicted = model(x, force=force, sample=sample, length=length)
    return predicted


def recalled(model: nn.Module, batch: Batch, *, feedback: bool) -> Prediction:
    """What the weights after the last step say of every step; the whole sequence is read first."""
    assert isinstance(model, WarpModel), "the config lets no baseline recall"
    x = batch["x"]
    force = torch.ones(x.shape[:2], device=x.device) if feedback else None
    theta = model(x, force=force, length=batch.get("length"), last=True).theta
    return model.recall(theta, x)
