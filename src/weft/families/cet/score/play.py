"""Plays whole episodes with given seeds, and gives their returns and lengths."""

# N episodes, n of which go on, O numbers observed

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from weft.data.random import derive
from weft.families.cet.control.worlds import make, space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Chooser: TypeAlias = "Callable[[NDArray[np.float32]], NDArray[np.int64]]"
"""A policy: from observations (n, O) to actions (n,)."""


class Played(NamedTuple):
    """Results of N episodes.

    Attributes:
        returns: the sum of rewards of each episode, (N,).
        lengths: the number of steps of each episode, (N,).
    """

    returns: list[float]
    lengths: list[int]


def play(name: str, seeds: list[int], choose: Chooser) -> Played:
    """Plays the episodes that begin with `seeds`, side by side, each to its end.

    Args:
        name: of the environment.
        seeds: one for each of the N episodes.
        choose: the policy; it gets the observations of the episodes that have not ended, in the
            order of `seeds`.
    """
    worlds = [make(name) for _ in seeds]
    shown = [world.reset(seed=seed)[0] for world, seed in zip(worlds, seeds, strict=True)]
    returns, lengths = [0.0] * len(seeds), [0] * len(seeds)
    going = list(range(len(seeds)))
    while going:
        actions = choose(np.stack([shown[number] for number in going])).tolist()
        still = []
        for number, action in zip(going, actions, strict=True):
            shown[number], reward, terminated, cut, _ = worlds[number].step(action)
            returns[number] += float(reward)
            lengths[number] += 1
            if not (terminated or cut):
                still.append(number)
        going = still
    return Played(returns, lengths)


@lru_cache
def at_random(name: str, seeds: tuple[int, ...]) -> float:
    """Mean return of uniformly random actions in the episodes that begin with `seeds`."""
    draws = np.random.default_rng(derive(*seeds, "at random"))
    actions = space(name).actions
    found = play(name, list(seeds), lambda shown: draws.integers(actions, size=len(shown)))
    return float(np.mean(found.returns))
