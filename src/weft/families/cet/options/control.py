"""Options of reinforcement learning: the environment, and the actor-critic's objective."""

from __future__ import annotations

from pydantic import Field

from weft.config.section import Section


class Control(Section):
    """Reinforcement learning, in place of image classification."""

    environment: str | None = Field(
        None,
        min_length=1,
        description="Gymnasium's environment to act in, as CartPole-v1; null: images are learnt.",
    )
    discount: float = Field(0.99, ge=0, lt=1, description="Discount of rewards for each time step.")
    horizon: float = Field(
        0.95,
        ge=0,
        le=1,
        description="How far an action's advantage trusts rewards over the critic: 0, one step; "
        "1, all of the batch (lambda of generalised advantage estimation).",
    )
    reward: float = Field(1.0, gt=0, description="Factor on rewards before they are learnt.")
    entropy: float = Field(
        0.01, ge=0, description="Weight of the policy's entropy, which encourages exploration."
    )
    critic: float = Field(0.5, gt=0, description="Weight of the critic's squared error.")
    episodes: int = Field(
        20, ge=1, description="Episodes played at each evaluation, the same in all runs."
    )
