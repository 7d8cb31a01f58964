"""Planning in a latent space that is the position itself, where the answer is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from weft.families.jepa.options.sections import Probe
from weft.families.jepa.score.planners import plan
from weft.families.jepa.score.planning import Planned, planned
from weft.families.jepa.sets.dots import DotsSource
from weft.families.jepa.sets.scene import THREE_DOTS, Scene

PLANNERS = ("gradient", "cem", "mppi")
Planners = pytest.mark.parametrize("planner", PLANNERS)


def ends(goal: Tensor, longest: float, planner: str = "gradient", **options: Any) -> Tensor:
    """Plans of five actions, for a dot that starts at 0 and goes where it is told."""

    def distance(actions: Tensor) -> Tensor:
        aim = goal.repeat(len(actions) // len(goal), 1)
        return (actions.sum(1) - aim).square().sum(-1)

    probe = Probe(mpc_planner=planner, **options)
    generator = torch.Generator().manual_seed(0)
    return plan(distance, torch.zeros(len(goal), 5, 2), probe, longest, generator)


@Planners
def test_a_plan_reaches_a_goal_within_reach(planner: str) -> None:
    goal = torch.tensor([[1.0, -2.0], [0.5, 0.5], [-3.0, 0.0]])
    actions = ends(goal, 1.0, planner)
    torch.testing.assert_close(actions.sum(1), goal, rtol=0, atol=0.1)


@Planners
def test_no_action_is_longer_than_allowed(planner: str) -> None:
    actions = ends(torch.tensor([[30.0, 40.0]]), 1.0, planner, mpc_iterations=40)
    assert actions.norm(dim=-1).max() <= 1 + 1e-5
    assert actions.sum(1).norm() > 3.9


def test_episodes_are_planned_independently() -> None:
    goal = torch.tensor([[1.0, -2.0], [0.5, 0.5]])
    torch.testing.assert_close(ends(goal, 1.0)[:1], ends(goal[:1], 1.0))


@Planners
def test_planning_works_where_gradients_are_off(planner: str) -> None:
    with torch.no_grad():
        actions = ends(torch.tensor([[1.0, 1.0]]), 1.0, planner)
    assert not actions.requires_grad
    assert actions.abs().sum() > 0


class Seer(nn.Module):
    """Codes are the first dot's normalised position, read off its brightest pixel; a forward
    model of a dot without walls that goes `gain` times as far as it is told."""

    burnin, dim = 1, 2

    def __init__(self, source: DotsSource, gain: float = 1.0) -> None:
        super().__init__()
        self.source, self.gain = source, gain

    def encode(self, image: Tensor) -> Tensor:
        size = image.shape[-1]
        brightest = image[:, :, 0].flatten(2).argmax(-1).transpose(0, 1)
        places = torch.stack((brightest % size, brightest // size), dim=-1).float()
        return self.source.norm.location(places)

    def rollout(self, e_0: Tensor, action: Tensor) -> Tensor:
        norm = self.source.norm
        steps = self.gain * action.transpose(0, 1) * norm.action_scale / norm.location_scale
        return torch.cat((e_0[-1:], e_0[-1:] + steps.cumsum(0)))


def led(scene: Scene, gain: float = 1.0, **options: Any) -> Planned:
    source = DotsSource.of(scene, batch_size=4, size=8, norm_batches=2)
    probe = Probe(mpc=True, mpc_episodes=12, **options)
    model: Any = Seer(source, gain)
    return planned(model, source, lambda codes: codes.unsqueeze(-2), probe, 17)


@pytest.mark.parametrize("horizon", [None, 8])
@Planners
def test_a_perfect_model_is_led_to_its_goal_and_standing_still_is_not(
    planner: str, horizon: int | None
) -> None:
    quick = {"mpc_iterations": 30, "mpc_lr": 0.3} if planner == "gradient" and horizon else {}
    found = led(Scene(), mpc_planner=planner, mpc_horizon=horizon, **quick).metrics()
    assert found["mpc_miss_px"] < 1.0
    assert found["mpc_success"] > 0.6
    assert found["mpc_still_px"] > 5
    assert found["mpc_seconds"] > 0


def test_looking_again_mends_what_a_wrong_model_misses() -> None:
    once, again = (
        led(Scene(), gain=0.6, mpc_planner="cem", mpc_horizon=h).metrics() for h in (None, 8)
    )
    assert again["mpc_miss_px"] < 1.5 < 3 < once["mpc_miss_px"]


def test_goals_lie_in_either_room_and_no_plan_leads_through_the_wall() -> None:
    found = led(Scene(door=6.0, brightness=2.0), mpc_planner="cem", mpc_horizon=8)
    assert ((found.goal[:, 0] - 13.5).abs() >= 1 - 1e-5).all()
    rooms = found.path[..., 0] < 13.5
    assert 0 < rooms[:, 0].float().mean() < 1
    # The model knows no wall: it is stopped at it where the straight way misses the door.
    other = (found.goal[:, 0] < 13.5) != rooms[:, 0]
    miss = (found.path[:, -1] - found.goal).norm(dim=-1)
    assert miss[other].max() > 3 > 1.5 > miss[~other].max()


def test_dots_that_are_not_led_go_their_own_way() -> None:
    found = led(Scene(walks=THREE_DOTS, num_frames=3))
    assert found.path.shape == (12, 18, 2)
    assert found.frame.shape == (12, 3, 28, 28)


def test_actions_are_carried_out_where_walls_stop_the_dot() -> None:
    found = led(Scene())
    assert found.path.min() >= 2.6 - 1e-5
    assert found.path.max() <= 24.4 + 1e-5
    steps = (found.path[:, 1:] - found.path[:, :-1]).norm(dim=-1)
    assert steps.max() <= 4 + 1e-4
