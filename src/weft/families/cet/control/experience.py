"""What the actor does and sees from one update to the next."""

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
        following: (E, B, O), after each action.
        terminated: bool (E, B), whether the episode came to its own end there.
        done: bool (E, B), whether it ended so or was cut; then a new one begins.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    following: Tensor
    terminated: Tensor
    done: Tensor


@torch.no_grad()
def act(agent: Agent, chance: Tensor) -> Experience:
    """Acts for B steps in all environments, which go on from there next time.

    Args:
        agent: whose policy draws the actions.
        chance: numbers in [0, 1) that decide them, (E, B).
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
    """Actions of the probabilities that `logits` (..., A) stand for, int64 (...).

    Args:
        chance: in [0, 1), shape (...); action a is taken where it lies between the shares of all
            actions before a, and those and a's own.
    """
    below = logits.float().softmax(-1).cumsum(-1)
    return (below[..., :-1] <= chance[..., None]).sum(-1)


def _shapes(agent: Agent, chance: Tensor) -> Experience:
    """Experience without content, for shape and cost analysis."""
    seen = chance.new_zeros(*chance.shape, agent.worlds.space.observed)
    agent.actor(seen.flatten(0, 1))
    never = torch.zeros_like(chance, dtype=torch.bool)
    return Experience(seen, chance.long(), torch.zeros_like(chance), seen, never, never)
