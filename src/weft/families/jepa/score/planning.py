"""Plans in latent space, executed in the true environment, and their distance from the goal."""

# B episodes, A actions, D code, K dots, R frames read before predicting

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from weft.data.random import stream
from weft.families.jepa.model import Model
from weft.families.jepa.options.sections import Probe
from weft.families.jepa.score.planners import plan
from weft.families.jepa.score.probe import Readout
from weft.families.jepa.sets.dots import DotsSource, Stage
from weft.families.jepa.sets.rooms import beside

NEAR = 1.0
"""Largest distance from the goal, in pixels, that counts as success."""


@dataclass(frozen=True)
class Planned:
    """Episodes in which dot 1 was steered towards a goal; positions in pixels.

    Attributes:
        path: its positions, with the start, (B, A + 1, 2).
        goal: (B, 2).
        frame: the frame from which the first plan was made, (B, C, S, S).
        seconds: time of planning per episode.
    """

    path: Tensor
    goal: Tensor
    frame: Tensor
    seconds: float

    def metrics(self) -> dict[str, float]:
        """Final distance and success of the plans, the distance without moving, and the time.

        Returns:
            mpc_miss_px: mean distance of the end from the goal.
            mpc_success: share of episodes that end within 1 px of the goal.
            mpc_still_px: mean distance of the start from the goal.
            mpc_seconds: time of planning per episode.
        """
        miss, still = ((at - self.goal).norm(dim=-1) for at in (self.path[:, -1], self.path[:, 0]))
        return {
            "mpc_miss_px": float(miss.mean()),
            "mpc_success": float((miss <= NEAR).float().mean()),
            "mpc_still_px": float(still.mean()),
            "mpc_seconds": self.seconds,
        }


def planned(
    model: Model, source: DotsSource, readout: Readout, probe: Probe, num_actions: int
) -> Planned:
    """Steers dot 1 towards random goals by plans with the forward model.

    Without a horizon all actions are planned once. With a horizon that many actions (or those that
    remain) are planned from every new frame, the first one is executed, and the others initialise
    the next plan.

    Args:
        model: in eval mode.
        source: gives scene, backgrounds and units.
        readout: from codes to normalised locations, of which those of dot 1 are used.
        probe: gives the options of planning.
        num_actions: A.
    """
    scene, norm, burnin = source.scene, source.norm, model.burnin
    stage = _stage(source, probe.mpc_episodes, burnin + num_actions)
    draws = torch.rand(len(stage.positions), 2, generator=stream(0, 0, "goals"))
    goal = scene.low + (scene.high - scene.low) * draws.to(source.device)
    if stage.door is not None:
        goal = beside(goal, source.motion.middle)
    aim, longest = norm.location(goal), float(source.motion.max_step[0]) / norm.action_scale
    candidates = stream(0, 0, "candidates")
    places = list(stage.positions[:, :burnin].unbind(1))
    frames = [stage.frame(place, number) for number, place in enumerate(places)]
    taken = list((stage.actions[:, : burnin - 1, 0] / norm.action_scale).unbind(1))
    first = goal.new_zeros(len(goal), min(probe.mpc_horizon or num_actions, num_actions), 2)
    seconds, queue = 0.0, list[Tensor]()
    for left in range(num_actions, 0, -1):
        if not queue:
            began = time.perf_counter()
            distance = _distances(
                model, readout, model.encode(torch.cat(frames[-burnin:], dim=1)),
                taken[len(taken) - burnin + 1 :], aim,
            )  # fmt: skip
            actions = plan(distance, first, probe, longest, candidates)
            queue = list(actions.unbind(1))
            if probe.mpc_horizon:
                first = torch.cat((actions[:, 1:], actions[:, -1:]), dim=1)[:, : left - 1]
                queue = queue[:1]
            seconds += time.perf_counter() - began
        taken.append(queue.pop(0))
        places.append(_moved(stage, places[-1], taken[-1] * norm.action_scale, len(places)))
        frames.append(stage.frame(places[-1], len(places) - 1))
    path = torch.stack([place[:, 0] for place in places[burnin - 1 :]], dim=1)
    return Planned(path, goal, frames[burnin - 1][:, 0], seconds / len(goal))


def _distances(
    model: Model, readout: Readout, start: Tensor, seen: Sequence[Tensor], aim: Tensor
) -> Callable[[Tensor], Tensor]:
    """A function from actions (n B, A, 2), n plans for each episode, to squared distances (n B,).

    Args:
        model: predicts where the actions lead.
        readout: from codes to normalised locations.
        start: the codes read before predicting, (R, B, D).
        seen: the actions between them, R - 1 of (B, 2).
        aim: normalised goals, (B, 2).
    """
    before = [torch.stack([*seen], dim=1)] if seen else []

    def distance(actions: Tensor) -> Tensor:
        times = len(actions) // len(aim)
        given = torch.cat([*(each.repeat(times, 1, 1) for each in before), actions], dim=1)
        codes = model.rollout(start.repeat(1, times, 1), given)
        return (readout(codes[-1:])[0, :, 0] - aim.repeat(times, 1)).square().sum(-1)

    return distance


def _stage(source: DotsSource, episodes: int, num_frames: int) -> Stage:
    """Episodes long enough for burn-in and plan, the same on every call."""
    longer = replace(source, scene=replace(source.scene, num_frames=num_frames))
    longer = replace(longer, size=episodes, batch_size=episodes)
    [numbers] = longer.plan(longer.seed, 0)
    return longer.stage(numbers, stream(source.seed, 0, "planning"))


def _moved(stage: Stage, places: Tensor, action: Tensor, frame: int) -> Tensor:
    """The positions of all dots at `frame`, (B, K, 2): dot 1 by `action`, others by themselves."""
    led = stage.step(places[:, :1], action[:, None])
    return torch.cat((led, stage.positions[:, frame, 1:]), dim=1)
