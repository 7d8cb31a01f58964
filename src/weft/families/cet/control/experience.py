"""Collects the steps in all environments from which one update learns."""

# E environments, B time steps, O numbers observed, A actions

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from weft.families.cet.control.agent import Agent


class Experience(NamedTuple):
    """B steps of each environment.

    Attributes:
        observation: (E, B, O), before each action.
        action: int64 (E, B).
        reward: (E, B).
        following: (E, B, O), after each action and before a new episode.
        terminated: bool (E, B), whether the step reached a terminal state.
        done: bool (E, B), whether it was terminal or truncated by the time limit; then a new
            episode begins.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    following: Tensor
    terminated: Tensor
    done: Tensor


@torch.no_grad()
def act(agent: Agent, chance: Tensor) -> Experience:
    """Acts for B steps in all environments; the next call continues where this one ends.

    Args:
        agent: the agent whose policy draws the actions.
        chance: uniform random numbers in [0, 1) that decide the draws, (E, B).
    """
    if chance.is_meta:
        return _shapes(agent, chance)
    worlds, device = agent.worlds, chance.device
    before, actions, moments = [], [], []
    for draws in chance.unbind(1):
        before.append(torch.from_numpy(worlds.seen))
        action = drawn(agent.actor(before[-1].to(device)), draws)
        actions.append(action)
        moments.append(worlds.step(action.cpu().numpy()))
    worlds.remember()
    following, reward, terminated, done = (
        torch.stack([torch.from_numpy(part) for part in parts], dim=1).to(device)
        for parts in zip(*moments, strict=True)
    )
    observation = torch.stack(before, dim=1).to(device)
    action = torch.stack(actions, dim=1)
    return Experience(observation, action, reward, following, terminated, done)


def drawn(logits: Tensor, chance: Tensor) -> Tensor:
    """Actions drawn with probabilities softmax(logits) by inverting their cumulative sum.

    Args:
        logits: (..., A).
        chance: uniform random numbers in [0, 1), shape (...).
    Returns: int64 (...).
    """
    below = logits.float().softmax(-1).cumsum(-1)
    return (below[..., :-1] <= chance[..., None]).sum(-1)


def _shapes(agent: Agent, chance: Tensor) -> Experience:
    """Experience of zeros with the right shapes, for the analysis of shapes and costs."""
    seen = chance.new_zeros(*chance.shape, agent.worlds.space.observed)
    agent.actor(seen.flatten(0, 1))
    never = torch.zeros_like(chance, dtype=torch.bool)
    return Experience(seen, chance.long(), torch.zeros_like(chance), seen, never, never)
