"""Whole episodes, each the one that its seed begins, and what an actor gets in them."""

# N episodes, n of which go on, O numbers observed

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from weft.data.random import derive
from weft.families.cet.control.worlds import make, space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Chooser: TypeAlias = "Callable[[NDArray[np.float32]], NDArray[np.int64]]"
"""From observations (n, O) to actions (n,)."""


class Played(NamedTuple):
    """What episodes brought.

    Attributes:
        returns: sum of all rewards, one for each episode.
        lengths: steps, likewise.
    """

    returns: list[float]
    lengths: list[int]


def play(name: str, seeds: list[int], choose: Chooser) -> Played:
    """Plays the episodes that begin with `seeds`, side by side, each to its end.

    Args:
        name: of the environment.
        seeds: N.
        choose: is given what all episodes that go on show, in the order of `seeds`.
    """
    import numpy as np

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
    """Mean return of actions drawn evenly in the episodes that begin with `seeds`."""
    import numpy as np

    draws = np.random.default_rng(derive(*seeds, "at random"))
    actions = space(name).actions
    found = play(name, list(seeds), lambda shown: draws.integers(actions, size=len(shown)))
    return float(np.mean(found.returns))
