"""Plans in latent space: actions that make the predicted code read out at a goal."""

# B episodes, A actions, D code, K dots

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weft.data.random import stream
from weft.families.jepa.model import Model
from weft.families.jepa.options.sections import Probe
from weft.families.jepa.score.probe import Readout
from weft.families.jepa.sets.dots import DotsSource

Rollout = Callable[[Tensor, Tensor], Tensor]
"""First codes (B, D), actions (B, A, 2) -> codes of all frames (A + 1, B, D)."""


def miss(
    model: Model, source: DotsSource, readout: Readout, probe: Probe, num_actions: int
) -> float:
    """Mean distance, in pixels, of goals from where the actions planned for them lead.

    Args:
        model: in eval mode.
        source: the first `probe.mpc_episodes` of its episodes are planned.
        readout: codes to normalised locations.
        probe: says how to plan.
        num_actions: A.
    """
    scene, norm, burnin = source.scene, source.norm, model.burnin
    batch = next(source.batches(probe.mpc_episodes))
    start = model.encode(batch["image"][:, :burnin])
    seen = batch["action"][:, : burnin - 1]
    draws = torch.rand(len(seen), 2, generator=stream(0, 0, "goals")).to(seen.device)
    goal = scene.low + (scene.high - scene.low) * draws
    actions = plan_actions(
        lambda codes, planned: model.rollout(codes, torch.cat([seen, planned], dim=1)),
        readout,
        start,
        norm.location(goal),
        num_actions=num_actions,
        longest=scene.walks[0].max_step / norm.action_scale,
        iterations=probe.mpc_iterations,
        lr=probe.mpc_lr,
    )
    here = norm.pixels(batch["location"][:, burnin - 1, 0])
    path = carry_out(here, actions * norm.action_scale, scene.low, scene.high)
    return float((path[:, -1] - goal).norm(dim=-1).mean())


def plan_actions(
    rollout: Rollout,
    readout: Readout,
    start: Tensor,
    goal: Tensor,
    *,
    num_actions: int,
    longest: float,
    iterations: int,
    lr: float,
) -> Tensor:
    """Actions whose predicted end came nearest the goal, by Adam from standing still.

    Every episode is planned by itself: Adam works entry by entry, so they may share a batch.

    Args:
        rollout: the forward model, in eval mode.
        readout: codes to normalised locations; dot 1 is steered.
        start: codes of the first frames, (B, D).
        goal: normalised, (B, 2).
        num_actions: A.
        longest: longest action in normalised units; longer ones are shortened to it.
        iterations: Adam's steps.
        lr: Adam's learning rate, in normalised units.
    Returns: (B, A, 2), normalised.
    """
    actions = goal.new_zeros(len(goal), num_actions, 2).requires_grad_()
    optimiser = torch.optim.Adam([actions], lr=lr)
    best, nearest = torch.zeros_like(actions), goal.new_full((len(goal),), torch.inf)
    # cuDNN differentiates recurrent networks in training mode only.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        for _ in range(iterations):
            end = readout(rollout(start, actions)[-1:])[0, :, 0]
            distance = (end - goal).square().sum(-1)
            (actions.grad,) = torch.autograd.grad(distance.sum(), [actions])
            with torch.no_grad():
                # Adam circles its goal at this rate: what counts is the nearest it came.
                closer = distance < nearest
                best[closer], nearest[closer] = actions[closer], distance[closer]
                optimiser.step()
                length = actions.norm(dim=-1, keepdim=True)
                actions.mul_((longest / length.clamp(min=1e-12)).clamp(max=1.0))
    return best.detach()


def carry_out(start: Tensor, actions: Tensor, low: float, high: float) -> Tensor:
    """Positions after each action in the true world, where walls stop the dot.

    Args:
        start: pixels, (B, 2).
        actions: pixels, (B, A, 2).
        low, high: the walls in pixels.
    Returns: pixels, (B, A + 1, 2), the start included.
    """
    places = [start]
    for action in actions.unbind(1):
        places.append((places[-1] + action).clamp(low, high))
    return torch.stack(places, dim=1)
