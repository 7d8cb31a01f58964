"""Planners: they search actions whose predicted end is near a goal, by gradient or by sampling."""

# B episodes, A actions, N candidates

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from weft.families.jepa.options.sections import Probe
from weft.nn.optimisers import Adam

Distance = Callable[[Tensor], Tensor]
"""Actions (B, A, 2), normalised -> squared distance of the predicted end from the goal, (B,)."""

_ROUNDS = {"gradient": 100, "cem": 10, "mppi": 10}
_LEAST_SPREAD = 0.05
"""Smallest standard deviation of candidates, as a share of the longest action."""

_NARROWER = 0.75
"""Factor of the spread of mppi's candidates from one round to the next."""


def plan(
    distance: Distance,
    first: Tensor,
    probe: Probe,
    longest: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The best of all plans that the planner `probe.mpc_planner` has tried.

    Episodes are planned independently; they share a batch for speed only.

    Args:
        distance: the objective; for cem and mppi it is given N B plans at once: for each candidate
            in turn, those of all episodes.
        first: the initial plan, (B, A, 2), normalised.
        probe: gives the planner's options.
        longest: length of the longest action in normalised units; longer ones are shortened to it.
        generator: draws the candidates; torch's default if None.
    Returns: (B, A, 2), normalised.
    """
    rounds = probe.mpc_iterations or _ROUNDS[probe.mpc_planner]
    if probe.mpc_planner == "gradient":
        return _by_gradient(distance, first, rounds, probe.mpc_lr, longest)
    return _by_candidates(distance, first, rounds, probe, longest, generator)


def shortened(actions: Tensor, longest: float) -> Tensor:
    """Actions (…, 2), none longer than `longest`."""
    length = actions.norm(dim=-1, keepdim=True)
    return actions * (longest / length.clamp(min=1e-12)).clamp(max=1.0)


class _Nearest:
    """The best plan of each episode so far."""

    def __init__(self, first: Tensor) -> None:
        self.actions = torch.zeros_like(first)
        self.distance = first.new_full((len(first),), torch.inf)

    def see(self, actions: Tensor, distance: Tensor) -> None:
        """Keeps those of the plans (B, A, 2) that are better than the best so far."""
        closer = distance < self.distance
        self.actions[closer], self.distance[closer] = actions[closer], distance[closer]


def _by_gradient(
    distance: Distance, first: Tensor, rounds: int, lr: float, longest: float
) -> Tensor:
    """Gradient descent by Adam; as it circles around the goal, the best plan on its way counts."""
    actions = first.detach().clone().requires_grad_()
    optimiser = Adam([actions], lr=lr)
    nearest = _Nearest(first)
    # cuDNN has gradients of recurrent networks in training mode only.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        for _ in range(rounds):
            away = distance(actions)
            (actions.grad,) = torch.autograd.grad(away.sum(), [actions])
            with torch.no_grad():
                nearest.see(actions, away)
                optimiser.step()
                actions.copy_(shortened(actions, longest))
    return nearest.actions.detach()


@torch.no_grad()
def _by_candidates(
    distance: Distance,
    first: Tensor,
    rounds: int,
    probe: Probe,
    longest: float,
    generator: torch.Generator | None,
) -> Tensor:
    """Cross-entropy method (Rubinstein 1999) or path integral (Williams et al. 2017).

    Candidates are drawn around a mean. CEM sets mean and spread to those of the best few; MPPI sets
    the mean to that of all, weighted by exp(-distance / temperature), and reduces the spread.
    """
    mean, spread = first, torch.full_like(first, longest / 2)
    nearest = _Nearest(first)
    nearest.see(first, distance(first))
    for _ in range(rounds):
        noise = torch.randn((probe.mpc_candidates, *mean.shape), generator=generator)
        drawn = shortened(mean + spread * noise.to(mean), longest)  # (N, B, A, 2)
        away = distance(drawn.flatten(0, 1)).unflatten(0, drawn.shape[:2])
        best = away.argmin(0)
        episode = torch.arange(len(first), device=first.device)
        nearest.see(drawn[best, episode], away[best, episode])
        if probe.mpc_planner == "cem":
            few = away.argsort(0)[: min(probe.mpc_elites, len(away))]
            elite = drawn[few, episode]
            mean = elite.mean(0)
            spread = elite.std(0, correction=0).clamp(min=_LEAST_SPREAD * longest)
        else:
            unit = probe.mpc_temperature * away.std(0).clamp(min=1e-12)
            weight = ((away.amin(0) - away) / unit).softmax(0)
            mean, spread = (weight[..., None, None] * drawn).sum(0), _NARROWER * spread
    nearest.see(mean, distance(mean))
    return nearest.actions
