"""Environments that continue from batch to batch and are rebuilt exactly from a checkpoint."""

# E environments, O numbers observed, A actions, L longest episode

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from weft.data.random import derive
from weft.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    import gymnasium
    import numpy as np
    from numpy.typing import NDArray

    World = gymnasium.Env[NDArray[np.float32], int]

REMEMBERED = 100
"""Number of last episodes over which the return during training is averaged."""
SEEDS = 2**31
"""Seeds of environments are below this."""


class Space(NamedTuple):
    """Sizes of an environment's observations, actions and episodes.

    Attributes:
        observed: O, numbers in an observation.
        actions: A.
        longest: L, steps after which an episode is truncated.
    """

    observed: int
    actions: int
    longest: int


class Moment(NamedTuple):
    """The result of one step in all environments.

    Attributes:
        following: observations after the action, before any new episode, float32 (E, O).
        reward: (E,).
        terminated: bool (E,), whether the step reached a terminal state.
        done: bool (E,), whether the episode is over: in a terminal state, or truncated.
    """

    following: NDArray[np.float32]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    done: NDArray[np.bool_]


def make(name: str) -> World:
    """A Gymnasium environment.

    Raises:
        MissingExtra: if Gymnasium, or a package that this environment needs, is not installed.
        ConfigError: if Gymnasium has no such environment.
    """
    try:
        import gymnasium
    except ImportError as error:
        raise MissingExtra("gymnasium", "rl", "learning to act") from error
    with warnings.catch_warnings():
        # Importing Box2D warns; where warnings are errors, this warning crashes the interpreter.
        warnings.simplefilter("ignore")
        try:
            return gymnasium.make(name, disable_env_checker=True)
        except gymnasium.error.DependencyNotInstalled as error:
            raise MissingExtra("gymnasium[box2d]", "rl", f"the environment {name}") from error
        except gymnasium.error.Error as error:
            raise ConfigError(
                f"Gymnasium has no environment `{name}`: {error}",
                where="control.environment",
                expected="one of its names, with the version, as CartPole-v1 or LunarLander-v3",
            ) from error


@lru_cache
def space(name: str) -> Space:
    """Sizes of observations, actions and episodes of the environment `name`.

    Raises:
        ConfigError: if its actions are not a finite set, its observations not a vector, or its
            episodes have no time limit.
    """
    world = make(name)  # First: it says which extra is missing.
    from gymnasium.spaces import Box, Discrete

    seen, done = world.observation_space, world.action_space
    longest = world.spec.max_episode_steps if world.spec is not None else None
    if not (isinstance(seen, Box) and len(seen.shape) == 1 and isinstance(done, Discrete)):
        says, expected = f"{seen} and {done}", "a vector observed, and a number of actions"
    elif longest is None or done.start != 0:
        says, expected = f"{done}, longest {longest}", "actions from 0, and a longest episode"
    else:
        return Space(seen.shape[0], int(done.n), longest)
    raise ConfigError(f"`{name}` has {says}", where="control.environment", expected=expected)


class Worlds(nn.Module):
    """E environments, each of which begins a new episode when one is over.

    The state of an environment follows from the seed of its episode and the actions taken since.
    These are the buffers, and so part of a checkpoint; the environments themselves are rebuilt by
    replaying the actions when they are next used. The seed of episode n of environment e is a
    function of (seed, e, n).

    Args:
        name: of the environment.
        count: E.
        seed: of the run.
    Attributes:
        space: sizes of observations, actions and episodes.
        begun: episodes that each environment began before the current one, int64 (E,).
        taken: number of actions in the current episode, int64 (E,).
        actions: the actions themselves, int16 (E, L); entries from `taken` on are undefined.
        ended: number of finished episodes, int64.
        returns: of the last finished episodes, the newest last, float64 (100,).
    """

    begun: Tensor
    taken: Tensor
    actions: Tensor
    ended: Tensor
    returns: Tensor

    def __init__(self, name: str, count: int, seed: int) -> None:
        super().__init__()
        self.name, self.count, self.seed, self.space = name, count, seed, space(name)
        self.register_buffer("begun", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("taken", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("actions", torch.zeros(count, self.space.longest, dtype=torch.int16))
        self.register_buffer("ended", torch.zeros((), dtype=torch.int64))
        self.register_buffer("returns", torch.zeros(REMEMBERED, dtype=torch.float64))
        self._live: _Live | None = None

    @property
    def seen(self) -> NDArray[np.float32]:
        """Current observations, float32 (E, O)."""
        return self._running().seen

    @property
    def recent(self) -> Tensor:
        """Mean return of the last hundred finished episodes; NaN before the first."""
        return self.returns.sum() / self.ended.clamp(max=REMEMBERED)

    def step(self, actions: NDArray[np.int64]) -> Moment:
        """Takes an action (E,) in each environment."""
        return self._running().step(actions)

    def remember(self) -> None:
        """Writes the state of the environments to the buffers; called after each batch."""
        self._running().write(self)

    def _running(self) -> _Live:
        if self._live is None:
            self._live = _Live(self)
        return self._live

    def __getstate__(self) -> dict[str, Any]:
        # Environments cannot be copied: a copy rebuilds its own.
        return {**self.__dict__, "_live": None}

    def _load_from_state_dict(self, *args: Any, **options: Any) -> None:
        self._live = None
        super()._load_from_state_dict(*args, **options)


class _Live:
    """The running environments of `Worlds`, rebuilt from its buffers.

    Attributes:
        seen: current observations, (E, O); a new array at each step.
    """

    def __init__(self, of: Worlds) -> None:
        self.seed = of.seed
        self.begun, self.taken, self.actions = (
            buffer.cpu().numpy().copy() for buffer in (of.begun, of.taken, of.actions)
        )
        self.ended: list[float] = []
        self.returns = [0.0] * of.count
        self.worlds = [make(of.name) for _ in range(of.count)]
        self.seen = np.stack([self._begin(number) for number in range(of.count)])
        for number, taken in enumerate(self.taken.tolist()):
            for action in self.actions[number, :taken].tolist():
                self.seen[number], reward, *_ = self.worlds[number].step(action)
                self.returns[number] += float(reward)

    def step(self, actions: NDArray[np.int64]) -> Moment:
        following = np.empty_like(self.seen)
        reward = np.empty(len(actions), np.float32)
        terminated, cut = np.zeros((2, len(actions)), bool)
        for number, action in enumerate(actions.tolist()):
            found = self.worlds[number].step(action)
            following[number], reward[number], terminated[number], cut[number], _ = found
            self.returns[number] += float(found[1])
        everyone = np.arange(len(actions))
        self.actions[everyone, self.taken] = actions
        self.taken += 1
        self.seen = following.copy()
        done = terminated | cut
        for number in np.flatnonzero(done).tolist():
            self.ended.append(self.returns[number])
            self.returns[number] = 0.0
            self.taken[number] = 0
            self.begun[number] += 1
            self.seen[number] = self._begin(number)
        return Moment(following, reward, terminated, done)

    def write(self, to: Worlds) -> None:
        for buffer, mine in ((to.begun, self.begun), (to.taken, self.taken)):
            buffer.copy_(torch.from_numpy(mine))
        to.actions.copy_(torch.from_numpy(self.actions))
        if self.ended:
            ended = torch.tensor(self.ended, dtype=torch.float64, device=to.returns.device)
            to.returns.copy_(torch.cat([to.returns, ended])[-REMEMBERED:])
            to.ended.add_(len(ended))
            self.ended = []

    def _begin(self, number: int) -> NDArray[np.float32]:
        seed = derive(self.seed, number, int(self.begun[number]), "episode") % SEEDS
        observation, _ = self.worlds[number].reset(seed=seed)
        return observation
