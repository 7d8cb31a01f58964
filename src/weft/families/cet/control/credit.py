"""How much better than expected each action was, and the loss that follows from it."""

# E environments, B time steps, A actions

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def advantages(
    reward: Tensor,
    value: Tensor,
    following: Tensor,
    terminated: Tensor,
    done: Tensor,
    discount: float,
    horizon: float,
) -> Tensor:
    """Generalised advantage estimation (Schulman et al., 2016), shape (E, B).

        d[t] = r[t] + discount (1 - terminated[t]) following[t] - value[t]
        A[t] = d[t] + discount horizon (1 - done[t]) A[t + 1],   A[B] = 0

    Args:
        reward, value: r and the critic's V of what was seen before the action, (E, B).
        following: its V of what was seen after it, (E, B).
        terminated, done: of `Experience`, bool (E, B).
        discount, horizon: in [0, 1].
    """
    errors = reward + discount * following * ~terminated - value
    decay = (discount * horizon) * (~done).to(errors.dtype)
    found = torch.empty_like(errors)
    later = torch.zeros_like(errors[:, 0])
    for time in reversed(range(errors.shape[1])):
        later = errors[:, time] + decay[:, time] * later
        found[:, time] = later
    return found


def standardised(advantage: Tensor) -> Tensor:
    """Of mean 0 and deviation 1 over a batch: what counts is which actions were better."""
    return (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)


def losses(
    logits: Tensor, value: Tensor, action: Tensor, advantage: Tensor, target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The actor's loss, the critic's, and the policy's entropy, each a mean over all steps.

    Args:
        logits: (E, B, A).
        value: (E, B).
        action: int64 (E, B).
        advantage: by which the log-likelihood of each action is weighed, (E, B).
        target: what the critic should have said, (E, B).
    Returns: -mean(A log p), mean((V - target)^2) / 2, and the entropy in nats.
    """
    shares = F.log_softmax(logits.float(), dim=-1)
    taken = shares.gather(-1, action[..., None]).squeeze(-1)
    entropy = -(shares.exp() * shares).sum(-1).mean()
    return -(advantage * taken).mean(), 0.5 * (value - target).square().mean(), entropy
