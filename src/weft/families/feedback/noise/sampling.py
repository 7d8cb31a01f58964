"""Generates text by unmasking it step by step, the most confident positions first (MaskGIT)."""

# B rows, T positions, N masked positions of all rows, V vocabulary, S steps, n0 masked at first

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

#: (tokens (B, T), masked (B, T)) -> logits at the masked positions, (N, V)
Predict = Callable[[Tensor, Tensor], Tensor]


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
    steps: int,
    *,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fills the masked positions of every row by its own cosine schedule (Chang et al. 2022).

    At each step all masked positions are predicted, and those whose token is the most probable
    are kept. Without temperature a row's text does not depend on the other rows.

    Args:
        predict: the model, with whatever it remembers from step to step.
        tokens: int64 (B, T), [MASK] where `masked`.
        masked: bool (B, T).
        allowed: ids that text is made of, bool (V,); never [MASK], [PAD] or a padding row.
        steps: S >= 1.
        temperature: 0 takes the likeliest token, else tokens are drawn from p^(1/temperature).
        generator: draws the tokens; needed with a temperature.
    Returns: the filled tokens, int64 (B, T); what was not masked is untouched.
    """
    tokens, masked = tokens.clone(), masked.clone()
    at_first = masked.sum(1).tolist()
    for step in range(steps):
        if not masked.any():
            break
        logits = predict(tokens, masked).float().masked_fill(~allowed, -torch.inf)
        guess = _choose(logits, temperature, generator)
        log_p = logits.log_softmax(-1).gather(1, guess[:, None])[:, 0]
        confidence = torch.full(masked.shape, -torch.inf, device=tokens.device)
        confidence[masked] = log_p
        left = [still_masked(step, steps, count) for count in at_first]
        shown = masked.sum(1) - torch.tensor(left, device=tokens.device)
        rank = confidence.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
        revealed = masked & (rank < shown[:, None])
        filled = tokens.clone()
        filled[masked] = guess
        tokens = torch.where(revealed, filled, tokens)
        masked &= ~revealed
    return tokens


def _choose(logits: Tensor, temperature: float, generator: torch.Generator | None) -> Tensor:
    """A token for each position, int64 (N,)."""
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits / temperature).softmax(-1)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]
