"""Losses of weight-space sequence models, and the random choices of their training."""

# N batch, T steps, d channels of a target, n drawn steps, K classes

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from weft.data.source import Batch
from weft.families.warp.cell.drive import valid_steps
from weft.families.warp.cell.outputs import Prediction

Alignment = Literal["same", "next"]
Strategy = Literal["flip_coin", "teacher_forcing", "always_true", "grounded"]


def half_squared_error(mean: Tensor, target: Tensor) -> Tensor:
    """(mean - target)^2 / 2, entry by entry."""
    return 0.5 * (mean - target).square()


def gaussian_nll(mean: Tensor, std: Tensor, target: Tensor) -> Tensor:
    """log std + ((target - mean) / std)^2 / 2, entry by entry: nats without 0.5 log(2 pi)."""
    return std.log() + 0.5 * ((target - mean) / std).square()


def reconstruction(
    mean: Tensor,
    std: Tensor | None,
    target: Tensor,
    *,
    steps: Tensor | None = None,
    valid: Tensor | None = None,
    counted: Tensor | None = None,
) -> Tensor:
    """Mean loss over sequences, steps and channels: squared error, or likelihood if there is a std.

    Args:
        mean: predictions, (N, T, d).
        std: standard deviations, (N, T, d); None for (1/2) mean squared error.
        target: what `mean` is scored against, (N, T, d).
        steps: steps in the loss, (N, n), with repetitions; the same for prediction and target.
        valid: which of these steps are data and not padding, bool; None: all.
        counted: number of steps in the mean if some are padding; None: the valid ones.
    """
    loss = half_squared_error(mean, target) if std is None else gaussian_nll(mean, std, target)
    each = loss.mean(-1)
    if steps is not None:
        each = each.gather(1, steps)
    if valid is None:
        return each.mean()
    # A sequence whose drawn steps are all padding has no weight.
    return (each * valid).sum() / (valid.sum().clamp_min(1) if counted is None else counted)


def classification(logits: Tensor, label: Tensor) -> Tensor:
    """Mean cross-entropy, in nats, of the last step's logits (N, K) and labels (N,)."""
    return F.cross_entropy(logits, label)


def prediction_loss(
    predicted: Prediction,
    batch: Batch,
    alignment: Alignment,
    steps: Tensor | None = None,
    counted: Tensor | None = None,
    given: int = 0,
) -> Tensor:
    """The reconstruction loss of the predictions for a batch.

    Args:
        predicted: of every step.
        batch: `x` (N, T, d), `target` if it is another sequence, `length` (N,) if lengths differ.
        alignment: see `aligned`.
        steps: steps of each sequence in the loss, (N, n), with repetitions; None: all.
        counted: number of steps in the mean, without padding; None: those of the batch.
        given: number of first targets that are not in the loss.
    """
    mean, std, length = predicted.mean, predicted.std, batch.get("length")
    assert mean is not None, "the head of a task that reconstructs has means"
    mean, target = aligned(mean, batch.get("target", batch["x"]), alignment)
    scored = mean.shape[1]
    first = max(0, given - (alignment == "next"))
    return reconstruction(
        mean[:, first:],
        None if std is None else std[:, first:scored],
        target[:, first:],
        steps=steps,
        valid=None if length is None else scored_steps(length, scored, batch["x"].shape[1], steps),
        counted=counted,
    )


def scored_steps(length: Tensor, scored: int, steps: int, drawn: Tensor | None) -> Tensor:
    """Which of the scored steps are not padding, bool (N, scored), or (N, n) if n are drawn.

    Args:
        length: steps of right-aligned sequences, (N,).
        scored: number of steps whose predictions are scored.
        steps: T, of the batch.
        drawn: the steps in the loss, (N, n); None: all.
    """
    valid = valid_steps(length, steps)
    assert valid is not None, "a length was given"
    valid = valid[:, :scored]
    return valid if drawn is None else valid.gather(1, drawn)


def aligned(predicted: Tensor, target: Tensor, alignment: Alignment) -> tuple[Tensor, Tensor]:
    """Predictions and the targets they are scored against.

    `same` compares out_t with x_t, as the original does, although step t may have read x_t; `next`
    compares out_t with x_{t+1}, and leaves out the last output.

    Args:
        predicted, target: (N, T, ...).
    Returns: the two, with T or T - 1 steps.
    """
    if alignment == "same":
        return predicted, target
    return predicted[:, :-1], target[:, 1:]


def forcing(
    strategy: Strategy,
    probability: float,
    progress: float,
    shape: tuple[int, int],
    generator: Generator | None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Share of the truth in the input of each step of a training batch, (N, T) in [0, 1].

    Args:
        strategy: `flip_coin` draws at random for each sequence and step; `teacher_forcing` mixes
            truth and prediction by alpha = 1 - sigmoid(10 (progress - 1/2)); `always_true` is 1.
        probability: of the truth, for `flip_coin`.
        progress: share of training that is done, in [0, 1].
        shape: (N, T).
        generator: random stream of `flip_coin`, on `device`.
    """
    if strategy == "flip_coin":
        return (torch.rand(shape, generator=generator, device=device) < probability).float()
    alpha = 1.0
    if strategy == "teacher_forcing":
        alpha = 1 - 1 / (1 + math.exp(-10 * (progress - 0.5)))
    return torch.full(shape, alpha, device=device)


def grounding(x: Tensor, context: int | Tensor, length: Tensor | None = None) -> Tensor:
    """Forcing at inference, (N, T): 1 (the truth) in the first `context` steps, then 0.

    Args:
        x: sequences, (N, T, d).
        context: L, counted from each sequence's first step; a tensor (N,) if it differs.
        length: steps of right-aligned sequences, (N,); None if all have T.
    """
    batch, steps = x.shape[:2]
    place = torch.arange(steps, device=x.device).expand(batch, -1)
    end = context[:, None] if isinstance(context, Tensor) else context
    start = 0 if length is None else steps - length[:, None]
    return (place < start + end).to(x.dtype)


def kept_count(length: int, share: float) -> int:
    """Number of the `length` steps that `kept_steps` keeps."""
    return min(length, max(2, int(share * length)))


def kept_steps(
    length: int, share: float, generator: Generator | None, device: torch.device | str = "cpu"
) -> Tensor | None:
    """A random sorted subset of int(share * length) steps, with the first and the last one.

    Returns: indices, (kept_count(length, share),), or None if every step is kept.
    """
    count = kept_count(length, share)
    if count == length:
        return None
    inner = torch.randperm(length - 2, generator=generator, device=device)[: count - 2] + 1
    ends = torch.tensor([0, length - 1], device=device)
    return torch.cat([ends, inner]).sort().values


def thinned(batch: Batch, share: float, generator: Generator | None) -> tuple[Batch, Tensor | None]:
    """The batch at the steps of `kept_steps`, and their positions, (n,); None if all are kept."""
    x = batch["x"]
    steps = x.shape[1]
    kept = kept_steps(steps, share, generator, x.device)
    if kept is None:
        return batch, None
    thin = {
        name: values.index_select(1, kept) if name in ("x", "target") else values
        for name, values in batch.items()
    }
    if "length" in batch:
        thin["length"] = (kept >= steps - batch["length"][:, None]).sum(1)
    return thin, kept.to(x.dtype)


def drawn_steps(
    shape: tuple[int, int],
    count: int,
    generator: Generator | None,
    device: torch.device | str = "cpu",
) -> Tensor | None:
    """For each of N sequences, `count` of T steps drawn with replacement, (N, count).

    Returns: None if `count` is -1: all steps count.
    """
    if count == -1:
        return None
    batch, length = shape
    return torch.randint(length, (batch, count), generator=generator, device=device)
