"""Generates text by unmasking it step by step, the most confident positions first (MaskGIT)."""

# B rows, T positions, N masked positions of all rows, V vocabulary, S steps, n0 masked at first

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from weft.errors import UsageError
from weft.nn.precision import widened

#: (tokens (B, T), masked (B, T)) -> logits at the masked positions, (N, V)
Predict = Callable[[Tensor, Tensor], Tensor]

Remask = Literal["low-confidence", "random"]


@dataclass(frozen=True)
class Way:
    """Settings of unmasking.

    Attributes:
        steps: S >= 1, divided among the blocks, at least one for each.
        temperature: 0 takes the likeliest token; otherwise tokens are drawn from p^(1/temperature).
        top_p: tokens are drawn from the smallest set whose probabilities sum to at least this.
        remask: which positions stay masked at a step: those with the least probable token, or
            random ones.
        block: number of masked positions in a row that are filled before those to the right of them
            (LLaDA's semi-autoregressive order); None: all together.
        jointly: whether the rows of a batch share one schedule and one ranking, as in the original;
            the text of a row then depends on the others.

    Raises:
        UsageError: for a setting without a meaning.
    """

    steps: int
    temperature: float = 0.0
    top_p: float = 1.0
    remask: Remask = "low-confidence"
    block: int | None = None
    jointly: bool = False

    def __post_init__(self) -> None:
        meant = {
            "steps": (
                self.steps >= 1 and self.steps == int(self.steps),
                "a whole number, 1 or more",
            ),
            "temperature": (0 <= self.temperature < math.inf, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "more than 0, and 1 at most"),
            "remask": (self.remask in get_args(Remask), f"one of {', '.join(get_args(Remask))}"),
            "block": (self.block is None or self.block >= 1, "1 or more, or None"),
        }
        for name, (holds, expected) in meant.items():
            if not holds:
                raise UsageError(
                    f"`{name}` is {getattr(self, name)!r}", where=name, expected=expected
                )


def still_masked(step: int, steps: int, masked_at_first: int) -> int:
    """floor(cos(pi/2 (step + 1) / steps) n0): positions still masked after `step` = 0, 1, …."""
    if step + 1 >= steps:
        return 0
    return math.floor(math.cos(math.pi / 2 * (step + 1) / steps) * masked_at_first)


def unmask(
    predict: Predict,
    tokens: Tensor,
    masked: Tensor,
    allowed: Tensor,
    way: Way,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fills the masked positions of every row by its own cosine schedule (Chang et al. 2022).

    At each step tokens are predicted for all masked positions of a block, and the most probable
    ones are kept. Without random draws and without `jointly`, the text of a row does not depend on
    the other rows.

    Args:
        predict: the model; it may have state from step to step.
        tokens: int64 (B, T), [MASK] where `masked`.
        masked: bool (B, T).
        allowed: ids that may be generated, bool (V,): not [MASK], [PAD] or unused ids.
        way: settings of unmasking.
        generator: draws tokens and positions; needed if `way` asks for random draws.
    Returns: the filled tokens, int64 (B, T); other positions are unchanged.

    Raises:
        UsageError: if a tensor, or what `predict` gives, is of another shape, or no id is allowed.
    """
    _check(tokens, masked, allowed)
    tokens = tokens.clone()
    blocks = list(_blocks(masked, way.block))
    steps = max(1, way.steps // max(1, len(blocks)))
    for open_ in blocks:
        at_first = _ranked(open_, way).sum(1).tolist()
        for step in range(steps):
            if not open_.any():
                break
            logits = _predicted(predict, tokens, open_, allowed)
            guess = _choose(logits, way, generator)
            sure = _confidence(logits, guess, way, generator)
            confidence = sure.new_full(open_.shape, -torch.inf).masked_scatter(open_, sure)
            left = [still_masked(step, steps, count) for count in at_first]
            shown = _ranked(open_, way).sum(1) - torch.tensor(left, device=tokens.device)
            order = _ranked(confidence, way).argsort(dim=1, descending=True, stable=True)
            revealed = open_ & (order.argsort(dim=1) < shown[:, None]).view_as(open_)
            filled = tokens.clone()
            filled[open_] = guess
            tokens = torch.where(revealed, filled, tokens)
            open_ = open_ & ~revealed
    return tokens


def _check(tokens: Tensor, masked: Tensor, allowed: Tensor) -> None:
    if tokens.dim() != 2 or masked.shape != tokens.shape or masked.dtype != torch.bool:
        raise UsageError(
            f"tokens of shape {tuple(tokens.shape)}, and a mask of {tuple(masked.shape)}, "
            f"{masked.dtype}",
            expected="(rows, positions) both, the mask of torch.bool",
        )
    if not allowed.any():
        raise UsageError("no token is allowed", expected="an id that may be generated")


def _predicted(predict: Predict, tokens: Tensor, masked: Tensor, allowed: Tensor) -> Tensor:
    """Logits at the masked positions in float32 or wider, (N, V); -inf for what is not allowed."""
    logits = widened(predict(tokens, masked))
    if logits.dim() != 2 or logits.shape[1] != len(allowed):
        raise UsageError(
            f"`predict` gives logits of shape {tuple(logits.shape)}",
            expected=f"(N, {len(allowed)}): of the N masked positions alone, of every id",
        )
    return logits.masked_fill(~allowed, -torch.inf)


def _blocks(masked: Tensor, size: int | None) -> Iterator[Tensor]:
    """The masked positions, bool (B, T) each: of every row `size` at a time from the left."""
    if size is None:
        yield masked
        return
    number = (masked.cumsum(1) - 1) // size
    for block in range(-(-int(masked.sum(1).amax()) // size)):
        yield masked & (number == block)


def _ranked(values: Tensor, way: Way) -> Tensor:
    """`values` in the rows within which positions are ranked: those of the batch, or one."""
    return values.reshape(1, -1) if way.jointly else values


def _choose(logits: Tensor, way: Way, generator: torch.Generator | None) -> Tensor:
    """A token for each position, int64 (N,)."""
    if way.temperature == 0:
        return logits.argmax(-1)
    share = (logits / way.temperature).softmax(-1)
    if way.top_p < 1:
        ordered, ids = share.sort(-1, descending=True)
        # A token is kept if the more probable ones have not reached the sum; the first always is.
        ordered = ordered.masked_fill(ordered.cumsum(-1) - ordered >= way.top_p, 0)
        share = torch.zeros_like(share).scatter(-1, ids, ordered)
    return torch.multinomial(share, 1, generator=generator)[:, 0]


def _confidence(
    logits: Tensor, guess: Tensor, way: Way, generator: torch.Generator | None
) -> Tensor:
    """Scores by which positions are kept, the highest first, (N,)."""
    if way.remask == "random":
        return torch.rand(len(guess), generator=generator, device=guess.device)
    return logits.log_softmax(-1).gather(1, guess[:, None])[:, 0]
