"""Advantages of actions by generalised advantage estimation, and the actor-critic loss."""

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
        reward, value: r, and the critic's value of the observation before the action, (E, B).
        following: the critic's value of the observation after the action, (E, B).
        terminated, done: as in `Experience`, bool (E, B).
        discount, horizon: gamma and lambda of the estimate, in [0, 1].
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
    """`advantage` shifted and scaled to mean 0 and standard deviation 1 over the batch."""
    return (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)


def losses(
    logits: Tensor, value: Tensor, action: Tensor, advantage: Tensor, target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The actor's loss, the critic's, and the policy's entropy, each a mean over all steps.

    Args:
        logits: (E, B, A).
        value: (E, B).
        action: int64 (E, B).
        advantage: weight A of the log-likelihood of each action, (E, B).
        target: the returns that the critic should predict, (E, B).
    Returns: -mean(A log p), mean((V - target)^2) / 2, and the mean entropy in nats.
    """
    shares = F.log_softmax(logits.float(), dim=-1)
    taken = shares.gather(-1, action[..., None]).squeeze(-1)
    entropy = -(shares.exp() * shares).sum(-1).mean()
    return -(advantage * taken).mean(), 0.5 * (value - target).square().mean(), entropy
