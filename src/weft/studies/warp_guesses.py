"""Predictions of the rest of a sequence without a network: guesses, and least squares."""

# N sequences, T steps, d channels, L steps of context

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

PENALTIES = tuple(10.0**power for power in range(-4, 6))
"""Penalties of the ridge regression, in units of the mean variance of what is given."""


class Guess(NamedTuple):
    """A prediction of the steps from L on.

    Attributes:
        mean: broadcasts to (N, T - L, d).
        std: deviation of each step over the training sequences, (T - L, d); None for guesses
            without training.
    """

    mean: Tensor
    std: Tensor | None = None


def guesses(given: Tensor, steps: int, period: int | None = None) -> Iterator[tuple[str, Guess]]:
    """Guesses of the next steps of sequences (N, L, d) without training.

    Yields:
        last: the last value given.
        mean: the mean of those given.
        recur: the mean of those given a whole number of periods before, if L holds a period.
    """
    import torch

    yield "last", Guess(given[:, -1:])
    yield "mean", Guess(given.mean(1, keepdim=True))
    length = given.shape[1]
    if period is not None and 0 < period <= length:
        whole = given[:, length % period :]
        whole = whole.reshape(len(given), -1, period, given.shape[2]).mean(1)
        yield "recur", Guess(whole[:, torch.arange(steps) % period])


def learnt(
    train: Tensor, val: Tensor | None, given: Tensor, context: int
) -> Iterator[tuple[str, Guess]]:
    """Least-squares predictions fitted to training sequences, with a penalty chosen on validation.

    Args:
        train, val: (N, T, d); without `val` the penalty is 1.
        given: the first L steps of the sequences to predict, (N, L, d).
        context: L.

    Yields:
        average: the mean of each step over the training sequences.
        ridge: an affine map of the steps given.
    """
    rest = train[:, context:]
    average = rest.mean(0)
    yield "average", Guess(average, rest.std(0, correction=0))
    x, y = train[:, :context].flatten(1), rest.flatten(1)
    centre = x.mean(0)
    x, y = x - centre, y - average.flatten()
    values, vectors = _eigen(x)
    turned = vectors.mT @ (x.mT @ y)
    unit = values.sum() / len(values)

    def told(asked: Tensor, penalty: float) -> Tensor:
        map_ = vectors @ (turned / (values + penalty * unit).unsqueeze(1))
        return average + ((asked.flatten(1) - centre) @ map_).view(-1, *average.shape)

    best = 1.0
    if val is not None:
        found = {
            penalty: float((told(val[:, :context], penalty) - val[:, context:]).square().mean())
            for penalty in PENALTIES
        }
        best = min(found, key=lambda penalty: found[penalty])
    strayed = (told(train[:, :context], best) - rest).square().mean(0).sqrt()
    yield "ridge", Guess(told(given, best), strayed)


def _eigen(x: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of x' x."""
    import torch

    values, vectors = torch.linalg.eigh(x.mT @ x)
    return values.clamp_min(0), vectors


def from_pairs(x: Tensor, train: Tensor, answers: Tensor) -> Iterator[tuple[str, Guess]]:
    """Least-squares predictions of a query from the sequence's own pairs, in a set like `icl`.

    Args:
        x: inputs cumulated over time, (N, T, n + 1), with 0 as the y of the query.
        train: the same of training sequences, whose `answers` (N, 1, 1) choose ridge's penalty.

    Yields:
        zero: 0 for the query's y.
        least squares: the w of smallest size that fits the pairs best.
        ridge: with a penalty.
    """
    import torch

    before = x[:, -2:-1, -1:]

    def told(of: Tensor, penalty: float) -> Tensor:
        rows = of.diff(dim=1, prepend=torch.zeros_like(of[:, :1]))
        a, y, query = rows[:, :-1, :-1], rows[:, :-1, -1:], rows[:, -1:, :-1]
        if penalty == 0:
            w = torch.linalg.pinv(a) @ y
        else:
            eye = penalty * torch.eye(a.shape[-1], dtype=a.dtype)
            w = torch.linalg.solve(a.mT @ a + eye, a.mT @ y)
        return of[:, -2:-1, -1:] + query @ w

    yield "zero", Guess(before)
    yield "least squares", Guess(told(x, 0))
    found = {of: float((told(train, of) - answers).square().mean()) for of in PENALTIES}
    yield "ridge", Guess(told(x, min(found, key=lambda penalty: found[penalty])))


def errors(guess: Guess, truth: Tensor, bound: float | None) -> dict[str, float]:
    """The `mse` of a guess and, if it has deviations, `bpd` under its normal density.

    Args:
        guess: of the steps from L on.
        truth: (N, T - L, d).
        bound: smallest deviation allowed, as for the models; None without a likelihood.
    """
    error = truth - guess.mean
    found = {"mse": float(error.square().mean())}
    if guess.std is not None and bound is not None:
        std = guess.std.clamp_min(bound)
        nats = float((std.log() + 0.5 * (error / std).square()).mean())
        found["bpd"] = (nats + 0.5 * math.log(2 * math.pi)) / math.log(2)
    return found
