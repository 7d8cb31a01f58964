"""Planning in a latent space that is the position itself, where the answer is known."""

from __future__ import annotations

import torch
from torch import Tensor

from weft.families.jepa.score.planning import carry_out, plan_actions


def rollout(start: Tensor, actions: Tensor) -> Tensor:
    """A perfect forward model of a dot without walls."""
    return torch.cat([start[:, None], start[:, None] + actions.cumsum(1)], dim=1).transpose(0, 1)


def readout(codes: Tensor) -> Tensor:
    return codes.unsqueeze(-2)


def plan(goal: Tensor, longest: float) -> Tensor:
    start = torch.zeros(len(goal), 2)
    return plan_actions(
        rollout, readout, start, goal, num_actions=5, longest=longest, iterations=100, lr=0.1
    )


def test_a_plan_reaches_a_goal_within_reach() -> None:
    goal = torch.tensor([[1.0, -2.0], [0.5, 0.5], [-3.0, 0.0]])
    actions = plan(goal, longest=1.0)
    torch.testing.assert_close(actions.sum(1), goal, rtol=0, atol=0.02)


def test_no_action_is_longer_than_allowed() -> None:
    goal = torch.tensor([[30.0, 40.0]])
    actions = plan(goal, longest=1.0)
    assert actions.norm(dim=-1).max() <= 1 + 1e-5
    assert actions.sum(1).norm() > 4.9


def test_episodes_are_planned_independently() -> None:
    goal = torch.tensor([[1.0, -2.0], [0.5, 0.5]])
    both = plan(goal, longest=1.0)
    torch.testing.assert_close(both[:1], plan(goal[:1], longest=1.0))


def test_planning_works_where_gradients_are_off() -> None:
    with torch.no_grad():
        actions = plan(torch.tensor([[1.0, 1.0]]), longest=1.0)
    assert not actions.requires_grad
    assert actions.abs().sum() > 0


def test_walls_stop_the_dot_in_the_true_world() -> None:
    start = torch.tensor([[3.0, 10.0]])
    actions = torch.tensor([[[-2.0, 0.0], [1.0, 30.0]]])
    places = carry_out(start, actions, low=2.6, high=24.4)
    expected = torch.tensor([[[3.0, 10.0], [2.6, 10.0], [3.6, 24.4]]])
    torch.testing.assert_close(places, expected)
