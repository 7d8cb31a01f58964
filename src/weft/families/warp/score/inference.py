"""Inference of a trained model: which steps it is given, and how it predicts the others."""

# N batch, T steps, d channels, L steps of context

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from weft.data.source import Batch
from weft.families.warp.baselines.direct import Direct
from weft.families.warp.baselines.models import Baseline
from weft.families.warp.cell.outputs import Prediction
from weft.families.warp.config import Config
from weft.families.warp.model import WarpModel
from weft.families.warp.objective import grounding
from weft.families.warp.sets.source import SeriesSpec

Mode = Literal["feedback", "free", "recall", "query"]


def mode_of(config: Config, spec: SeriesSpec) -> Mode:
    """The mode of inference.

    `feedback`: the input is the truth for L steps, then the model's own predictions (M2, M3).
    `free`: the whole input is read, if it is not the target or passes convolutions (M1). `recall`:
    the root with the weights after the last step is read at every step. `query`: the first L steps
    are read, and then the root with the weights after them at every position.
    """
    if config.read == "query":
        return "query"
    if not config.autoregressive_inference:
        return "recall"
    convolves = config.conv_embedding is not None or config.output_smoothing
    free = "target" in spec.fields or convolves
    return "free" if free and not config.autoregressive else "feedback"


def context_of(config: Config, spec: SeriesSpec) -> int:
    """L: the number of given steps, which are not part of metrics."""
    if spec.context is not None:
        return spec.context
    how = mode_of(config, spec)
    whole = how == "free" or (how == "query" and "target" in spec.fields)
    return 0 if whole else config.grounding_length


def infer(
    config: Config,
    spec: SeriesSpec,
    model: nn.Module,
    batch: Batch,
    context: int | Tensor,
    draws: Generator | None = None,
) -> Prediction:
    """Predictions of every step of a batch; only of the class if nothing else is learnt.

    Args:
        config, spec: of the run.
        model: in eval mode.
        batch: `x` (N, T, d).
        context: L, number of given steps; a tensor (N,) if it differs between sequences.
        draws: random stream of samples that are fed back, if inference samples.
    """
    x, length = batch["x"], batch.get("length")
    if not config.reconstructs:
        predicted: Prediction = model(x, length=length, last=True)
        return predicted
    how = mode_of(config, spec)
    if how == "query":
        read = 0 if "target" in spec.fields else context
        place = torch.arange(x.shape[1], device=x.device)
        return asked(model, batch, read, place, config.relative_period, config.patch)
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
    """Predictions of every step by the weights after the last step."""
    assert isinstance(model, WarpModel), "the config lets no baseline recall"
    x = batch["x"]
    force = torch.ones(x.shape[:2], device=x.device) if feedback else None
    theta = model(x, force=force, length=batch.get("length"), last=True).theta
    return model.recall(theta, x)


def asked(
    model: nn.Module,
    batch: Batch,
    context: int | Tensor,
    position: Tensor,
    period: int | None = None,
    patch: int | None = None,
) -> Prediction:
    """Predictions at positions by the weights after the context; the rest of the input is not read.

    Args:
        model: any of `model.Model`.
        batch: `x` (N, T, d).
        context: L, number of steps read; 0 for all, if the target is another sequence; a tensor
            (N,) if it differs between sequences.
        position: positions, (M,), or of each sequence (N, M).
        period: inputs and predictions are relative to the mean over the given steps at whole
            periods from them; None: they are absolute.
        patch: number of steps read at once, see `patched`; None: 1.
    """
    assert isinstance(model, WarpModel | Baseline | Direct)
    x = batch["x"]
    if isinstance(context, Tensor):
        # Sequences with equal contexts together; few contexts differ, and only in figures.
        rows = [(context == length).nonzero()[:, 0] for length in context.unique()]
        parts = [
            asked(model, {"x": x[of]}, int(context[of[0]]), _of(position, of), period, patch)
            for of in rows
        ]
        order = torch.cat(rows).argsort()

        def joined(some: Sequence[Tensor | None]) -> Tensor | None:
            there = [part for part in some if part is not None]
            return torch.cat(there)[order] if there else None

        theta = joined([part.theta for part in parts])
        assert theta is not None
        columns = zip(*(part[:3] for part in parts), strict=True)
        mean, std, logits = (joined(column) for column in columns)
        return Prediction(mean, std, logits, theta)
    given = x[:, : context or None]
    if period is None:
        return model.query(_read(model, given, patch), position)
    usual = recurring(given, period)
    phase = torch.arange(given.shape[1], device=x.device) % period
    told = model.query(_read(model, given - usual[:, phase], patch), position)
    assert told.mean is not None
    phase = (position % period).expand(x.shape[0], position.shape[-1])
    return told._replace(mean=told.mean + usual.gather(1, phase.unsqueeze(-1).expand_as(told.mean)))


def _read(model: nn.Module, given: Tensor, patch: int | None) -> Tensor:
    """The weights after the given steps, (N, D), or the features that replace them."""
    if patch is None:
        theta: Tensor = model(given, last=True).theta
        return theta
    ends = torch.arange(given.shape[1] - 1, -1, -patch, device=given.device).flip(0)
    theta = model(patched(given, patch), position=ends.to(given.dtype), last=True).theta
    return theta


def patched(x: Tensor, patch: int) -> Tensor:
    """Sequences (N, T, d) with `patch` steps joined to one, (N, ceil(T / patch), patch d).

    The last patch ends with the sequence; the first one is padded with the first datum.
    """
    missing = -x.shape[1] % patch
    whole = torch.cat([x[:, :1].expand(-1, missing, -1), x], 1)
    return whole.unflatten(1, (-1, patch)).flatten(2)


def recurring(given: Tensor, period: int) -> Tensor:
    """The mean of (N, L, d) at each phase over the last whole periods, (N, period, d)."""
    steps = given.shape[1]
    whole = given[:, steps % period :].unflatten(1, (-1, period)).mean(1)
    return whole.roll(steps % period, 1)


def _of(position: Tensor, rows: Tensor) -> Tensor:
    return position if position.dim() == 1 else position[rows]
