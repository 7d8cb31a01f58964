"""Reinforcement learning: trains an actor and a critic with delayed errors."""

# E environments, B time steps, O numbers observed, A actions

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from weft.data.source import Batch, DataSpec, Splits
from weft.families.cet.config import Config
from weft.families.cet.control.agent import Agent
from weft.families.cet.control.credit import advantages, losses, standardised
from weft.families.cet.control.experience import act
from weft.families.cet.control.turns import Turns, load_turns, turns_spec
from weft.families.cet.figures import acting, report
from weft.families.cet.score.agreement import agreement
from weft.families.cet.score.play import Chooser, at_random, play
from weft.families.cet.trace.configured import configured
from weft.families.cet.trace.conversion import clock
from weft.task.context import Context
from weft.task.inference import Inference
from weft.task.metric import Metric
from weft.task.task import Task

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


class ControlTask(Task[Config, Agent, Turns]):
    """Actor-critic learning with delayed errors by cascading eligibility traces."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Mean returns of the likeliest actions, which selects, and of random actions."""
        return (
            Metric("return", "higher", about="Mean return of an episode of likeliest actions."),
            Metric("length", "higher", "steps", "Mean length of an episode of likeliest actions."),
            Metric("random", "higher", about="Mean return of an episode of random actions."),
        )

    @property
    def environment(self) -> str:
        """The name of the Gymnasium environment."""
        assert self.config.control.environment is not None
        return self.config.control.environment

    def spec(self) -> DataSpec:
        """Shapes of a batch of random numbers, and the number of held-out episodes."""
        return turns_spec(self.config)

    def data(self) -> Splits[Turns]:
        """Random numbers of training batches, and seeds of held-out episodes."""
        return load_turns(self.config)

    def model(self, spec: DataSpec) -> Agent:
        """Actor, critic and environments; all dense layers learn by traces.

        Raises:
            DeviceError: for `carry` on several processes.
        """
        config = self.config
        agent = Agent(self.environment, config.streams, config.hidden_dim, config.seed)
        return configured(config, agent)

    def inference(self, model: Agent, spec: DataSpec) -> Inference:
        """Logits of actions (N, A) and expected returns (N,) of observations (N, O)."""
        seen = torch.zeros(2, model.worlds.space[0])
        return Inference(lambda agent, x: agent(x), {"observation": seen}, ("logits", "value"))

    def loss(self, model: Agent, batch: Batch, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        """Acts for B steps in each environment, and gives the actor-critic loss of those steps.

        Logged are its terms and `return`, the mean return of the last hundred finished episodes.

        Args:
            model: made by `model`.
            batch: `chance`, (E, B).
            ctx: the state of training.
        """
        config, options = self.config, self.config.control
        time = clock(model)
        time.streams = config.streams
        time.similarity = config.track_sim and ctx.log and (ctx.step + 1) % config.sim_every == 0
        done = act(model, batch["chance"])
        logits, value = model(done.observation.flatten(0, 1))
        shape = done.reward.shape
        logits, value = logits.unflatten(0, shape), value.float().view(shape)
        with torch.no_grad():
            following = model.critic(done.following).squeeze(-1).float()
            advantage = advantages(
                options.reward * done.reward, value, following, done.terminated, done.done,
                options.discount, options.horizon,
            )  # fmt: skip
            target = advantage + value
        actor, critic, entropy = losses(logits, value, done.action, standardised(advantage), target)
        loss = actor + options.critic * critic - options.entropy * entropy
        if not ctx.log:
            return loss, {}
        terms = {"actor": actor, "critic": critic, "entropy": entropy}
        return loss, {**terms, "return": model.worlds.recent}

    def evaluate(self, model: Agent, source: Turns, ctx: Context) -> dict[str, float]:
        """Mean return and length of the episodes of `source`, and the return of random actions."""
        returns, lengths = [], []
        for batch in source.batches(self.config.eval.batch_size):
            found = play(self.environment, batch["seed"].tolist(), _likeliest(model, ctx.device))
            returns += found.returns
            lengths += found.lengths
        return {
            "return": sum(returns) / len(returns),
            "length": sum(lengths) / len(lengths),
            "random": at_random(self.environment, tuple(source.seeds.tolist())),
        }

    def scalars(self, model: Agent) -> dict[str, Tensor]:
        """Agreement of updates with true gradients, see `agreement`."""
        return agreement(model)

    def figures(self, history: list[dict[str, Any]]) -> Iterator[tuple[str, str, Figure]]:
        """Returns over training; agreement of updates with true gradients, if measured."""
        yield acting.returns(history, self.config.streams * self.config.batch_size)
        if any(key.startswith("sim/") for row in history for key in row):
            yield report.similarity(history)

    def sample(
        self, model: Agent, data: Splits[Turns], ctx: Context
    ) -> Iterator[tuple[str, str, Figure]]:
        """Kernel, pairing matrix, and one held-out episode as the actor sees it."""
        yield report.kernels(self.config)
        yield report.pairing_matrix(self.config)
        seed = data.shown.seeds[:1].tolist()
        seen: list[NDArray[np.float32]] = []
        choose = _likeliest(model, ctx.device)

        def watched(shown: NDArray[np.float32]) -> NDArray[np.int64]:
            seen.append(shown[0].copy())
            return choose(shown)

        found = play(self.environment, seed, watched)
        observations = torch.stack([torch.from_numpy(row) for row in seen]).to(ctx.device)
        logits, value = model(observations)
        yield acting.episode(
            observations.cpu(), logits.softmax(-1).cpu(), value.cpu() / self.config.control.reward,
            found.returns[0],
        )  # fmt: skip


def _likeliest(model: Agent, device: torch.device) -> Chooser:
    def choose(shown: NDArray[np.float32]) -> NDArray[np.int64]:
        return model.actor(torch.from_numpy(shown).to(device)).argmax(-1).cpu().numpy()

    return choose
