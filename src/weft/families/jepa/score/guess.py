"""The error of always guessing the centre of the scene, the baseline of every model."""

# T frames, K dots

from __future__ import annotations

from functools import lru_cache

import torch

from weft.data.random import stream
from weft.families.jepa.sets.motion import Motion
from weft.families.jepa.sets.scene import Scene

_EPISODES = 10000


@lru_cache(maxsize=16)
def guess_px2(scene: Scene) -> tuple[tuple[float, ...], ...]:
    """Mean squared Euclidean distance, in pixels², of each frame's dots from the centre.

    For a uniformly distributed dot it is 2 (high - low)² / 12; in later frames it is larger, as
    dots gather at the walls.

    Returns: K numbers for each of T frames, from 10,000 episodes, the same on every call.
    """
    motion = Motion.of(scene.walks, scene.low, scene.high, scene.door)
    shape = (_EPISODES, scene.num_dots, motion.num_draws(scene.num_frames))
    generator = stream(0, 0, "guess")
    draws = torch.rand(shape, generator=generator)
    door = motion.doors(torch.rand(_EPISODES, generator=generator)) if scene.door > 0 else None
    positions, _ = motion(draws, door)
    away = (positions - (scene.low + scene.high) / 2).double().square().sum(-1).mean(0)
    return tuple(tuple(frame) for frame in away.tolist())
