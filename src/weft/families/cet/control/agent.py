"""An actor and a critic, together with the environments that the actor acts in."""

# R rows, O numbers observed, A actions, U hidden units

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from weft.families.cet.control.worlds import Worlds


class Agent(nn.Module):
    """Two networks of two hidden layers each: a policy (actor) and a value function (critic).

    Args:
        environment: the name of a Gymnasium environment.
        count: number of environments that run side by side.
        hidden_dim: U.
        seed: of the run; the seeds of all episodes are derived from it.
    """

    def __init__(self, environment: str, count: int, hidden_dim: int, seed: int) -> None:
        super().__init__()
        self.worlds = Worlds(environment, count, seed)
        observed, actions, _ = self.worlds.space
        self.actor = network(observed, hidden_dim, actions, scale=0.01)
        self.critic = network(observed, hidden_dim, 1, scale=1.0)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of actions (R, A) and expected returns (R,) of observations (R, O)."""
        return self.actor(observations), self.critic(observations).squeeze(-1)


def network(observed: int, hidden_dim: int, outputs: int, scale: float) -> nn.Sequential:
    """Dense layers w1, w2, w3 with a ReLU after each but the last, orthogonal at the start.

    Args:
        observed: O.
        hidden_dim: U.
        outputs: size of the last layer's output.
        scale: gain of the last layer's weights; a small one makes all actions about equally likely
            at first.
    """
    sizes = ((observed, hidden_dim, 2**0.5), (hidden_dim, hidden_dim, 2**0.5),
             (hidden_dim, outputs, scale))  # fmt: skip
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (before, after, gain) in enumerate(sizes, start=1):
        layer = nn.Linear(before, after)
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
        parts[f"w{number}"] = layer
        if number < len(sizes):
            parts[f"relu{number}"] = nn.ReLU()
    return nn.Sequential(parts)
